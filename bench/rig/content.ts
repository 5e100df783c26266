import { randomBytes } from '@rbdferry/test/dist/ceph/cluster.js';

export const KiB = 1024;
export const MiB = 1024 * KiB;
export const GiB = 1024 * MiB;

export type Filling = 'zeros' | 'incompressible' | 'text';

/** A range of an image to be written. */
export interface Extent {
  readonly offset: number;
  readonly length: number;
}

const words = 'accept backup cluster daemon error flush image journal kernel lock mount node object pool queue'.split(
  ' ',
);

/** Log lines of some variety: zstd makes about a fifth of it. */
const makeText = (length: number): Buffer => {
  const dice = randomBytes('text', length / 4);
  const lines: string[] = [];
  for (let size = 0, at = 0; size < length; at += 8) {
    const word = (index: number) => words[(dice[at + index] ?? 0) % words.length];
    const line = `2026-11-${(dice[at] ?? 0) % 30} host${(dice[at + 1] ?? 0) % 9} ${word(2)}[${dice.readUInt16LE(at + 3)}]: ${word(5)} ${word(6)} ${word(7)} 0x${dice.toString('hex', at, at + 6)}\n`;
    lines.push(line);
    size += line.length;
  }
  return Buffer.from(lines.join('').slice(0, length), 'latin1');
};

let text: Buffer | undefined;

/** `length` bytes (at most 4 MiB) of the kind, the same for the same seed. */
export const contentOf = (filling: Filling, seed: string, length: number): Buffer => {
  switch (filling) {
    case 'zeros':
      // Not only zeros: import-diff would leave them out, and there would be nothing to read.
      return Buffer.alloc(length).fill(1, 0, 1);
    case 'incompressible':
      return randomBytes(seed, length);
    case 'text': {
      text ??= makeText(16 * MiB);
      const at = randomBytes(seed, 4).readUInt32LE() % (text.length - length);
      return text.subarray(at, at + length);
    }
  }
};

/** Whole blocks of `blockBytes` that cover `length` from `offset` on. */
export const blocks = (offset: number, length: number, blockBytes = 4 * MiB): Extent[] =>
  Array.from({ length: length / blockBytes }, (_, index) => ({
    offset: offset + index * blockBytes,
    length: blockBytes,
  }));

/** `count` extents of the same length at random places of an image, in order and apart from each other. */
export const scattered = (seed: string, of: { count: number; length: number; imageBytes: number }): Extent[] => {
  const slots = Math.floor(of.imageBytes / of.length);
  const dice = randomBytes(seed, of.count * 16);
  const chosen = new Set<number>();
  for (let at = 0; chosen.size < of.count && at + 4 <= dice.length; at += 4) chosen.add(dice.readUInt32LE(at) % slots);
  return [...chosen].sort((a, b) => a - b).map((slot) => ({ offset: slot * of.length, length: of.length }));
};
