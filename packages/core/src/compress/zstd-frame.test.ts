import { randomBytes } from 'node:crypto';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { bombFrame, frameOf, rawBlock, rleBlock } from './frames.js';
import { frameProblem } from './zstd-frame.js';
import { findZstd } from './zstd.js';

const KiB = 1024;
const MiB = KiB * KiB;
const hello = rawBlock(Buffer.from('hello'), 'last');

describe('a frame that may be decoded', () => {
  it.each<[string, Buffer, number]>([
    ['of one block as it is', frameOf([hello]), 5],
    ['that says its size', frameOf([hello], { declared: 5 }), 5],
    ['with a checksum (the decoder looks at it)', frameOf([hello], { checksum: true }), 5],
    ['of one byte many times', frameOf([rleBlock(128 * KiB, 'more'), rleBlock(7, 'last')]), 128 * KiB + 7],
    ['of nothing', frameOf([rawBlock(Buffer.alloc(0), 'last')]), 0],
    ['with the largest window', frameOf([hello], { window: (13 << 3) | 0 }), 5],
  ])('%s', (_, frame, bytes) => {
    expect(frameProblem(frame, bytes)).toBeNull();
  });

  it('comes from every compressor that there is, whatever the content', async () => {
    const zstd = await findZstd();
    if (zstd === null) throw new Error('there is no zstd here');
    const text = Buffer.from(Array.from({ length: 200_000 }, (_, index) => `line ${index * 7919} of a log\n`).join(''));
    const contents = [
      Buffer.alloc(MiB),
      randomBytes(MiB),
      text.subarray(0, MiB),
      text.subarray(0, 4 * MiB),
      Buffer.concat([
        text.subarray(0, 100_000),
        randomBytes(400_000),
        Buffer.alloc(300_000),
        text.subarray(0, 200_000),
      ]),
      Buffer.from('x'),
      Buffer.alloc(0),
    ];
    for (const content of contents) {
      const frame = await zstd.compress(content);
      expect(frameProblem(frame, content.length)).toBeNull();
      expect((await zstd.decompress(frame)).equals(content)).toBe(true);
    }
  });
});

describe('a frame that may not', () => {
  const big = 5 * MiB;
  it.each<[string, Buffer, number, string]>([
    ['is empty', Buffer.alloc(0), 5, 'it ends early'],
    ['is something else', Buffer.from('rbd diff v1\n'), 5, 'does not begin as a zstd frame'],
    ['is a skippable one', Buffer.from('502a4d180400000001020304', 'hex'), 5, 'does not begin as a zstd frame'],
    ['announces too much', frameOf([hello]), big, `its content of ${big} bytes is above`],
    ['says another size', frameOf([hello], { declared: 6 }), 5, 'it says that it holds 6 bytes, and not 5'],
    ['says a size beyond all', frameOf([hello], { declared: 2n ** 63n }), 5, 'it says that it holds 922337203685477'],
    ['needs a dictionary', frameOf([hello], { dictionary: true }), 5, 'it needs a dictionary'],
    ['has a reserved bit', frameOf([hello], { reserved: true }), 5, 'a reserved bit'],
    ['has a huge window', frameOf([hello], { window: (20 << 3) | 0 }), 5, 'its window of 1073741824 bytes'],
    ['has too large a window', frameOf([hello], { window: (13 << 3) | 1 }), 5, 'its window of'],
    ['ends in a block', frameOf([hello]).subarray(0, -1), 5, 'it ends early'],
    ['lacks its last block', frameOf([rawBlock(Buffer.from('hello'), 'more')]), 5, 'it ends early'],
    ['lacks its checksum', frameOf([hello], { checksum: true }).subarray(0, -1), 5, 'it ends early'],
    ['is two', Buffer.concat([frameOf([hello]), frameOf([hello])]), 5, 'something behind its end'],
    ['has a block of a kind to come', frameOf([Buffer.from([0b111, 0, 0])]), 5, 'a block of an unknown kind'],
    ['has too large a block', frameOf([rleBlock(128 * KiB + 1, 'last')]), 128 * KiB + 1, 'a block above 128 KiB'],
    ['cannot be that much', frameOf([hello]), 6, 'it cannot hold 6 bytes'],
    ['is a bomb', bombFrame(512 * MiB), MiB, 'it may become more than 16777216 bytes'],
    ['is a bomb that says little', bombFrame(512 * MiB, MiB), MiB, 'it may become more than 16777216 bytes'],
  ])('%s', (_, frame, bytes, words) => {
    expect(frameProblem(frame, bytes)).toContain(words);
  });

  it('whatever it is, is found out without a crash', () => {
    const head = Buffer.from('28b52ffd', 'hex');
    const anything = fc.uint8Array({ maxLength: 60 }).map((bytes) => Buffer.concat([head, bytes]));
    fc.assert(
      fc.property(anything, fc.nat({ max: MiB }), (frame, bytes) => {
        const problem = frameProblem(frame, bytes);
        expect(problem === null || problem.length > 5).toBe(true);
      }),
      { numRuns: 2000 },
    );
  });
});
