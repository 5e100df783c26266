import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { fitMetadata, joinMetadata, splitMetadata, type MetadataEntry } from './image-meta.js';

const none = () => false;
const bytes = fc.oneof(
  fc.uint8Array({ maxLength: 6 }).map((each) => Buffer.from(each)),
  fc.constantFrom('', '__proto__', 'a\nb', '"', '\0', '\ufeffx', 'ä').map((each) => Buffer.from(each)),
);
const entry: fc.Arbitrary<MetadataEntry> = fc.record({ key: bytes, value: bytes });
const keyOf = ({ key }: MetadataEntry): string => Buffer.from(key).toString('hex');

describe('image-meta', () => {
  it('is the same to the byte when it was split and joined', () => {
    fc.assert(
      fc.property(fc.uniqueArray(entry, { selector: keyOf }), (entries) => {
        const order = (a: MetadataEntry, b: MetadataEntry) => keyOf(a).localeCompare(keyOf(b));
        expect(joinMetadata(splitMetadata(entries, none)).toSorted(order)).toEqual(entries.toSorted(order));
      }),
    );
  });

  it('is left out as a whole when it is too much, escapes and base64 included', () => {
    const none = { metadata: {}, binaryMetadata: [] };
    const fits = { ...none, metadata: { k: 'x'.repeat(900) } };
    expect(fitMetadata(fits, 1000)).toEqual({ ...fits, metadataOmitted: false });
    const omitted = { ...none, metadataOmitted: true };
    expect(fitMetadata({ ...none, metadata: { k: '\u0001'.repeat(200) } }, 1000)).toEqual(omitted);
    expect(
      fitMetadata({ ...none, binaryMetadata: [{ key: Buffer.of(1), value: Buffer.alloc(800, 0xff) }] }, 1000),
    ).toEqual(omitted);
    expect(
      fitMetadata(
        { ...none, metadata: Object.fromEntries(Array.from({ length: 200 }, (_, at) => [`${at}`, ''])) },
        1000,
      ),
    ).toEqual(omitted);
  });

  it('is text where both key and value are', () => {
    const of = (key: string | Buffer, value: string | Buffer) => ({ key: Buffer.from(key), value: Buffer.from(value) });
    const entries = [of('a', ''), of('b', Buffer.of(0xff)), of(Buffer.of(0xc3), 'c'), of('own.x', 'y')];
    expect(splitMetadata(entries, (key) => key.startsWith('own.'))).toEqual({
      metadata: { a: '' },
      binaryMetadata: [entries[1], entries[2]],
    });
  });
});
