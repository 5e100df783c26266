import { randomBytes } from 'node:crypto';
import * as fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { Lease } from '../transfer/lease.js';
import type { Piece } from '../transfer/piece.js';
import { compressed, type CompressOptions } from './compress.js';
import { decompressPart } from './decompress.js';
import { bombFrame, frameOf, rawBlock } from './frames.js';
import { findZstd, type Zstd } from './zstd.js';

const MiB = 1024 * 1024;

const zstdHere = async (): Promise<Zstd> => {
  const zstd = await findZstd();
  if (zstd === null) throw new Error('there is no zstd here');
  return zstd;
};

const text = (bytes: number): Buffer =>
  Buffer.from(Array.from({ length: bytes / 12 + 1 }, (_, index) => `record ${index * 7919} ok\n`).join('')).subarray(
    0,
    bytes,
  );

const pass = async (
  chunks: readonly (Uint8Array | Lease)[],
  options: Partial<CompressOptions> = {},
): Promise<Piece[]> => {
  async function* source(): AsyncGenerator<Lease, void, undefined> {
    for (const chunk of chunks) yield chunk instanceof Lease ? chunk : Lease.of(chunk);
  }
  const pieces: Piece[] = [];
  const zstd = await zstdHere();
  for await (const piece of compressed(source(), { zstd, mode: 'on', maxContentBytes: Infinity, ...options }))
    pieces.push(piece);
  return pieces;
};

/** What the far side makes of it. */
const received = async (pieces: readonly Piece[]): Promise<Buffer> => {
  const zstd = await zstdHere();
  const parts = pieces.map(async ({ content, frame }) =>
    frame === null ? content.bytes : decompressPart(zstd, { frame, contentBytes: content.bytes.length }),
  );
  return Buffer.concat(await Promise.all(parts));
};

describe('a compressed stream', () => {
  it('is the same on the far side, whatever is in it, in both modes', async () => {
    const part = fc.oneof(
      fc.nat({ max: 90_000 }).map((length) => randomBytes(length)),
      fc.nat({ max: 90_000 }).map((length) => text(length)),
      fc.nat({ max: 90_000 }).map((length) => Buffer.alloc(length)),
    );
    const stream = fc.array(part, { maxLength: 12 });
    await fc.assert(
      fc.asyncProperty(
        stream,
        fc.constantFrom('on', 'auto'),
        fc.constantFrom(1000, 32_768, Infinity),
        async (...of) => {
          const [chunks, mode, maxContentBytes] = of;
          const pieces = await pass(chunks, { mode, maxContentBytes });
          expect((await received(pieces)).equals(Buffer.concat(chunks))).toBe(true);
          for (const { content } of pieces) expect(content.bytes.length).toBeLessThanOrEqual(maxContentBytes);
        },
      ),
      { numRuns: 40 },
    );
  });

  it('is smaller where it can be, and never larger', async () => {
    const [small, large] = await pass([text(MiB), randomBytes(MiB)]);
    expect(small?.frame?.length ?? MiB).toBeLessThan(MiB / 2);
    expect(large?.frame).toBeNull();
  });

  it('with auto leaves alone what does not become smaller, and compresses less than a hundredth of it to know', async () => {
    const zstd = await zstdHere();
    const compress = vi.fn((content: Uint8Array) => zstd.compress(content));
    const chunk = randomBytes(MiB);
    const pieces = await pass(
      Array.from({ length: 64 }, () => chunk),
      { zstd: { ...zstd, compress }, mode: 'auto' },
    );
    expect(pieces.every(({ content, frame }) => content.bytes.buffer === chunk.buffer && frame === null)).toBe(true);
    const tried = compress.mock.calls.reduce((sum, [content]) => sum + content.length, 0);
    expect(tried).toBeLessThan((64 * MiB) / 100);
  });

  it('with auto compresses what becomes smaller', async () => {
    const chunk = text(MiB);
    const pieces = await pass(
      Array.from({ length: 20 }, () => chunk),
      { mode: 'auto' },
    );
    expect(pieces.filter(({ frame }) => frame !== null).length).toBeGreaterThan(16);
  });

  it('with auto does not judge a stream by the few bytes that it begins with', async () => {
    const head = Buffer.from('rbd diff v1\nt');
    const chunk = text(MiB);
    const pieces = await pass([head, ...Array.from({ length: 5 }, () => chunk)], { mode: 'auto' });
    expect(pieces.filter(({ frame }) => frame !== null).length).toBeGreaterThan(2);
  });

  it('sends as it is what its compressor makes a frame of that the far side would refuse', async () => {
    const zstd = await zstdHere();
    const odd: Zstd = { ...zstd, compress: () => Promise.resolve(frameOf([rawBlock(Buffer.from('x'), 'last')])) };
    expect((await pass([text(MiB)], { zstd: odd })).map(({ frame }) => frame)).toEqual([null]);
  });

  it('never gives a buffer back while a part of it is still to be sent', async () => {
    const chunk = Lease.take(100_000);
    const { bytes } = chunk;
    text(100_000).copy(bytes);
    const pieces = await pass([chunk], { maxContentBytes: 30_000 });
    // It may be used again now.
    expect(() => chunk.bytes).toThrow('given back');
    bytes.fill(0);
    expect((await received(pieces)).equals(text(100_000))).toBe(true);
    expect(Buffer.concat(pieces.map(({ content }) => content.bytes)).equals(text(100_000))).toBe(true);
  });
});

describe('a compressed part that is not what it says', () => {
  const invalid = { code: 'STREAM_INVALID' };

  it('is refused: a frame of another content', async () => {
    const zstd = await zstdHere();
    const frame = await zstd.compress(text(1000));
    await expect(decompressPart(zstd, { frame, contentBytes: 999 })).rejects.toMatchObject(invalid);
    await expect(decompressPart(zstd, { frame, contentBytes: 1001 })).rejects.toMatchObject(invalid);
    await expect(decompressPart(zstd, { frame: frame.subarray(1), contentBytes: 1000 })).rejects.toMatchObject(invalid);
  });

  it('is refused: a frame that breaks inside', async () => {
    const zstd = await zstdHere();
    const frame = await zstd.compress(text(5000));
    // The literals' head: what is announced does not fit any more.
    const broken = Buffer.from(frame).fill(0xff, 12, 40);
    await expect(decompressPart(zstd, { frame: broken, contentBytes: 5000 })).rejects.toMatchObject(invalid);
  });

  it('is refused before anything is decoded: a bomb, and too much', async () => {
    const zstd = await zstdHere();
    const decompress = vi.fn(() => Promise.resolve(Buffer.alloc(0)));
    for (const [frame, contentBytes] of [
      [bombFrame(512 * MiB), 512 * MiB],
      [bombFrame(512 * MiB), MiB],
      [bombFrame(512 * MiB, MiB), MiB],
    ] as const)
      await expect(decompressPart({ ...zstd, decompress }, { frame, contentBytes })).rejects.toMatchObject(invalid);
    expect(decompress).not.toHaveBeenCalled();
  });

  it('is refused where nobody can decode', async () => {
    await expect(decompressPart(null, { frame: Buffer.alloc(9), contentBytes: 5 })).rejects.toMatchObject({
      code: 'INVALID_REQUEST',
    });
  });
});
