import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { StreamDigest } from './stream-digest.js';

/** The product in GCM's field: NIST SP 800-38D, algorithm 1. */
const multiply = (x: bigint, y: bigint): bigint => {
  const reduction = 0xe1n << 120n;
  let z = 0n;
  for (let bit = 127n, v = y; bit >= 0n; bit -= 1n) {
    if (((x >> bit) & 1n) === 1n) z ^= v;
    v = (v & 1n) === 1n ? (v >> 1n) ^ reduction : v >> 1n;
  }
  return z;
};

/** AES-128 of a block of zeros, and of the first counter block, under a key of zeros: NIST's GCM test cases 1 and 2. */
const hashKey = 0x66e94bd4ef8a2c3b884cfa59ca342b2en;
const mask = 0x58e2fccefa7e3061367f1d57a4e7455an;

/** GMAC by the book. */
const gmac = (bytes: Buffer): string => {
  const lengths = (BigInt(bytes.length) * 8n) << 64n;
  const blocks = Array.from({ length: Math.ceil(bytes.length / 16) }, (_, index) => {
    const block = bytes.subarray(index * 16, index * 16 + 16).toString('hex');
    return BigInt(`0x${block.padEnd(32, '0')}`);
  });
  const hash = [...blocks, lengths].reduce((y, block) => multiply(y ^ block, hashKey), 0n);
  return (hash ^ mask).toString(16).padStart(32, '0');
};

const digestOf = (chunks: readonly Uint8Array[]): string => {
  const digest = new StreamDigest();
  for (const chunk of chunks) digest.update(chunk);
  return digest.digest().toString('hex');
};

describe('the digest of a stream', () => {
  it("of nothing is the one in NIST's test case 1", () => {
    expect(digestOf([])).toBe('58e2fccefa7e3061367f1d57a4e7455a');
  });

  it('is GMAC, however the stream is cut', () => {
    const chunks = fc.array(fc.uint8Array({ maxLength: 70 }), { maxLength: 8 });
    fc.assert(
      fc.property(chunks, (parts) => {
        expect(digestOf(parts)).toBe(gmac(Buffer.concat(parts)));
      }),
    );
  });

  it('is another one when a bit, the order or the length differs', () => {
    const stream = Buffer.from(Uint32Array.from({ length: 250_000 }, (_, index) => index).buffer);
    const flipped = Buffer.from(stream);
    flipped.writeUInt8(flipped.readUInt8(777_777) ^ 1, 777_777);
    const swapped = Buffer.concat([stream.subarray(16, 32), stream.subarray(0, 16), stream.subarray(32)]);
    const digests = [stream, flipped, swapped, Buffer.concat([stream, Buffer.alloc(1)])].map((each) =>
      digestOf([each]),
    );
    expect(new Set(digests).size).toBe(digests.length);
  });
});
