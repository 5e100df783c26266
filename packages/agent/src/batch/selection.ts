import { FerryError } from '@rbdferry/core/errors/ferry-error.js';
import { formatImageSpec, formatPoolSpec, type ImageSpec, type PoolSpec } from '@rbdferry/core/model/image-spec.js';
import picomatch from 'picomatch';

/** Which images a batch is about; images and pools in the words of their specs. */
export interface ImageSelection {
  /** These, whatever the rest says. */
  readonly images: readonly string[];
  readonly pools: readonly string[];
  /** The pools of the configuration. */
  readonly allPools: boolean;
  readonly match: readonly string[];
  readonly exclude: readonly string[];
}

/** What an image says itself goes before what the globs say; null when it says nothing. */
export type Say = 'on' | 'off' | null;

/** @throws INVALID_REQUEST for a glob that says nothing */
export const globTest = (globs: readonly string[]): ((spec: ImageSpec) => boolean)[] =>
  globs.map((glob) => {
    if (glob === '' || glob.length > maxGlobLength) {
      throw new FerryError(
        'INVALID_REQUEST',
        `${JSON.stringify(glob)} is no glob: expected one such as vm* or rbd/vm*`,
      );
    }
    const matches = picomatch(glob, { dot: true, noextglob: true, nobrace: true });
    return glob.includes('/') ? (spec) => matches(formatImageSpec(spec)) : ({ image }) => matches(image);
  });

const maxGlobLength = 1000;

/** Whether images of the pools are selected. Remembers which globs matched. */
export class Globs {
  readonly #match: ((spec: ImageSpec) => boolean)[];
  readonly #exclude: ((spec: ImageSpec) => boolean)[];
  readonly #texts: readonly string[];
  readonly #used = new Set<number>();

  /** @throws INVALID_REQUEST */
  constructor({ match, exclude }: Pick<ImageSelection, 'match' | 'exclude'>) {
    this.#match = globTest(match);
    this.#exclude = globTest(exclude);
    this.#texts = [...match, ...exclude];
  }

  selects(spec: ImageSpec, says: Say): boolean {
    const [match, exclude] = [this.#match, this.#exclude].map((tests, part) => {
      const hits = tests.map((test) => test(spec));
      for (const [index, hit] of hits.entries()) if (hit) this.#used.add(part * this.#match.length + index);
      return hits.includes(true);
    });
    if (says !== null) return says === 'on';
    return (match === true || this.#match.length === 0) && exclude !== true;
  }

  /** Those that matched no image that was asked about. */
  get idle(): string[] {
    return this.#texts.filter((_, index) => !this.#used.has(index));
  }
}

/** A selection in a few words, like `pool rbd, match vm*`. */
export const describeSelection = ({ images, pools, allPools, match, exclude }: ImageSelection): string => {
  const named =
    images.length > shownImages ? [...images.slice(0, shownImages), `${images.length - shownImages} more`] : images;
  return [
    ...named,
    ...(allPools ? ['all pools'] : []),
    ...pools.map((pool) => `pool ${pool}`),
    ...match.map((glob) => `match ${glob}`),
    ...exclude.map((glob) => `exclude ${glob}`),
  ].join(', ');
};

const shownImages = 3;

/** A restore's own image before it has its name. */
const temporary = /\.rbdferry-restore\.\d{4}-\d\d-\d\d\.[0-9a-z]+$/;

/** Whether an image of that name in a pool is somebody's, and not a restore's that is under way. */
export const isSomebodys = (name: string): boolean => !temporary.test(name);

export const samePool = (a: PoolSpec, b: PoolSpec): boolean => formatPoolSpec(a) === formatPoolSpec(b);
