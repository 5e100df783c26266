import { abortReason, throwIfAborted } from '../../errors/ferry-error.js';
import type { ImageRef } from '../../model/image-spec.js';
import type { CallOptions } from '../port.js';
import type { Asked } from './librbd-errors.js';
import type { LibrbdHelper } from './librbd-helper.js';
import type { LookAnswer, LookAsk, Wanted } from './protocol.js';

type Found = { readonly [W in Wanted]-?: Required<LookAnswer>[W] };
type Place = Pick<LookAsk, 'image' | 'snap'>;

/**
 * Questions about one image that are asked in the same turn of the event loop become one look: to open the image is nearly the whole
 * cost of each.
 */
export class Looks {
  readonly #helper: LibrbdHelper;
  readonly #begun = new Map<string, { readonly wanted: Set<Wanted>; readonly answer: Promise<LookAnswer> }>();

  constructor(helper: LibrbdHelper) {
    this.#helper = helper;
  }

  async look<W extends Wanted>(wanted: W, place: Place, asked: Asked, { signal }: CallOptions = {}): Promise<Found[W]> {
    throwIfAborted(signal);
    const answer = await unlessAborted(this.#join(wanted, place, asked), signal);
    return answer[wanted] as Found[W];
  }

  #join(wanted: Wanted, place: Place, asked: Asked): Promise<LookAnswer> {
    const key = JSON.stringify([keyOf(place.image), place.snap]);
    const begun = this.#begun.get(key);
    if (begun !== undefined) {
      begun.wanted.add(wanted);
      return begun.answer;
    }
    const all = new Set([wanted]);
    const answer = Promise.resolve().then(() => {
      this.#begun.delete(key);
      return this.#helper.call('look', { ...place, wanted: [...all] }, asked);
    });
    this.#begun.set(key, { wanted: all, answer });
    return answer;
  }
}

const keyOf = (image: ImageRef): string[] => [
  image.pool,
  image.namespace,
  ...('imageId' in image ? ['id', image.imageId] : ['name', image.image]),
];

/** Whoever waits may stop waiting; the others do not notice. */
const unlessAborted = async <T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> => {
  if (signal === undefined) return work;
  let onAbort = (): void => {};
  const aborted = new Promise<never>((_, reject) => {
    onAbort = () => {
      reject(abortReason(signal));
    };
    signal.addEventListener('abort', onAbort);
  });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener('abort', onAbort);
    work.catch(() => {});
  }
};
