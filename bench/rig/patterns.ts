import { blocks, GiB, KiB, MiB, scattered, type Extent, type Filling } from './content.js';

/** An image's content, and what changes between two backups. */
export interface Pattern {
  readonly name: string;
  readonly filling: Filling;
  readonly imageBytes: number;
  readonly base: readonly Extent[];
  change(round: number): readonly Extent[];
}

const dense = (name: string, filling: Filling, sizeBytes: number): Pattern => ({
  name,
  filling,
  imageBytes: sizeBytes,
  base: blocks(0, sizeBytes),
  // A quarter of the image, in other places each time.
  change: (round) =>
    scattered(`change ${round}`, { count: sizeBytes / (16 * MiB), length: 4 * MiB, imageBytes: sizeBytes }),
});

const small = (): Pattern => {
  const imageBytes = 512 * MiB;
  const extents = (seed: string) => scattered(seed, { count: 3000, length: 8 * KiB, imageBytes });
  return {
    name: 'small random extents (3000 of 8 KiB)',
    filling: 'incompressible',
    imageBytes,
    base: extents('base'),
    change: (round) => extents(`change ${round}`),
  };
};

const sparse = (): Pattern => {
  const imageBytes = 8 * GiB;
  const extents = (seed: string, count: number) => scattered(seed, { count, length: MiB, imageBytes });
  return {
    name: 'sparse (128 of 1 MiB in 8 GiB)',
    filling: 'incompressible',
    imageBytes,
    base: extents('base', 128),
    change: (round) => extents(`change ${round}`, 32),
  };
};

export const patternNames = ['incompressible', 'text', 'zeros', 'small', 'sparse'] as const;
export type PatternName = (typeof patternNames)[number];

export const patternOf = (name: PatternName, denseBytes: number): Pattern => {
  switch (name) {
    case 'incompressible':
      return dense('incompressible', 'incompressible', denseBytes);
    case 'text':
      return dense('text-like', 'text', denseBytes);
    case 'zeros':
      return dense('zeros', 'zeros', denseBytes);
    case 'small':
      return small();
    case 'sparse':
      return sparse();
  }
};
