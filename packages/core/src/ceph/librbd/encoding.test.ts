import { describe, expect, it } from 'vitest';
import { decodePairs, decodeSnapshot, decodeSnapshotIds, decodeText, encodeId, encodeMetadataAsk } from './encoding.js';

/** What class methods of Ceph 16.2.15 answered. */
const u32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
};
const text = (value: string): Buffer => Buffer.concat([u32(Buffer.byteLength(value)), Buffer.from(value)]);
const versioned = (...parts: Buffer[]): Buffer => {
  const content = Buffer.concat(parts);
  return Buffer.concat([Buffer.from([1, 1]), u32(content.length), content]);
};
const rest = Buffer.alloc(12);

const userSnapshot = versioned(encodeId(4n), versioned(u32(0)), text('s ü'), encodeId(2n ** 40n), rest);

describe('a snapshot', () => {
  it('of a user is told', () => {
    expect(decodeSnapshot(userSnapshot)).toEqual({ id: 4, name: 's ü', sizeBytes: 2n ** 40n });
  });

  it('of the trash is none of theirs, whatever its kind holds besides', () => {
    const kind = versioned(u32(2), versioned(u32(0)), text('golden'));
    expect(decodeSnapshot(versioned(encodeId(5n), kind, text('id'), encodeId(0n), rest))).toBeNull();
  });

  it('of a newer version, which says more at its end, is told as well', () => {
    const newer = versioned(encodeId(4n), versioned(u32(0)), text('s'), encodeId(1n), rest, Buffer.from('more'));
    newer[0] = 9;
    expect(decodeSnapshot(newer)).toEqual({ id: 4, name: 's', sizeBytes: 1n });
  });
});

it('ids, text and pairs are read as they were encoded', () => {
  expect(decodeSnapshotIds(Buffer.concat([encodeId(9n), u32(2), encodeId(9n), encodeId(4n)]))).toEqual([9n, 4n]);
  expect(decodeText(text('10106d2bbbe4'))).toBe('10106d2bbbe4');
  const pairs = Buffer.concat([
    u32(2),
    text('a'),
    text(''),
    text('b\0'),
    Buffer.concat([u32(2), Buffer.from([0, 255])]),
  ]);
  expect(decodePairs(pairs).map(([key, value]) => [Buffer.from(key).toString(), [...value]])).toEqual([
    ['a', []],
    ['b\0', [0, 255]],
  ]);
  expect(encodeMetadataAsk(Buffer.from('k'), 64).toString('hex')).toBe('010000006b4000000000000000');
});

it.each([
  ['a snapshot', () => decodeSnapshot(userSnapshot.subarray(0, -1))],
  ['ids', () => decodeSnapshotIds(Buffer.concat([encodeId(9n), u32(2), encodeId(9n)]))],
  ['text', () => decodeText(u32(1_000_000))],
  ['pairs', () => decodePairs(Buffer.concat([u32(1), text('a')]))],
  ['nothing', () => decodePairs(Buffer.alloc(0))],
])('%s that is cut off is not made up', (_, decode) => {
  expect(decode).toThrow(RangeError);
});
