import { randomBytes } from 'node:crypto';
import * as fc from 'fast-check';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { encodeDataHeader, encodeEnd, encodeHeader } from '../diff/diff-writer.js';
import { roomBeforeChunk, ZeroCutter } from '../diff/zero-cutter.js';
import { cutZeros } from './cut-zeros.js';
import { Lease, poisonReleased } from './lease.js';

const KiB = 1024;
let heal = () => {};

beforeAll(() => {
  heal = poisonReleased();
});

afterAll(() => {
  heal();
});

/** Blocks of data and of zeros, in extents of some blocks each. */
const streamOf = (extents: readonly (readonly boolean[])[]): Buffer => {
  let offset = 0;
  const records = extents.flatMap((blocks) => {
    const body = Buffer.concat(blocks.map((isZero) => (isZero ? Buffer.alloc(4 * KiB) : randomBytes(4 * KiB))));
    const head = encodeDataHeader(BigInt(offset), BigInt(body.length));
    offset += 2 * body.length;
    return [head, body];
  });
  return Buffer.concat([encodeHeader({ fromSnap: null, toSnap: 's', sizeBytes: 2n ** 40n }), ...records, encodeEnd()]);
};

const expected = (stream: Buffer): Buffer => {
  const cutter = new ZeroCutter();
  const out = cutter.push(Buffer.concat([Buffer.alloc(roomBeforeChunk), stream]));
  return Buffer.concat([...out, ...cutter.finish()]);
};

it.each([
  ['with room before them', (bytes: Buffer) => leased(bytes)],
  ['of memory of their own', (bytes: Buffer) => Lease.of(Buffer.from(bytes))],
])(
  'zeros are cut out of chunks %s, each of which is given back once, and not before its bytes have come out',
  async (_, lease) => {
    const extents = fc.array(fc.array(fc.boolean(), { minLength: 1, maxLength: 20 }), { maxLength: 5 });
    await fc.assert(
      fc.asyncProperty(extents, fc.integer({ min: 500, max: 90_000 }), async (blocks, chunkBytes) => {
        const stream = streamOf(blocks);
        const given: Lease[] = [];
        async function* chunks(): AsyncGenerator<Lease, void, undefined> {
          for (let at = 0; at < stream.length; at += chunkBytes) {
            const chunk = lease(stream.subarray(at, at + chunkBytes));
            given.push(chunk);
            yield chunk;
          }
        }
        const out: Buffer[] = [];
        for await (const part of cutZeros(chunks())) {
          out.push(Buffer.from(part.bytes));
          part.release();
        }
        expect(Buffer.concat(out).equals(expected(stream))).toBe(true);
        for (const chunk of given) expect(() => chunk.bytes).toThrow('given back');
      }),
      { numRuns: 50 },
    );
  },
);

const leased = (bytes: Buffer): Lease => {
  const lease = Lease.take(bytes.length);
  bytes.copy(lease.bytes);
  return lease;
};
