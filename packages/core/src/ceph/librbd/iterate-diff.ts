import type { Connection } from './connection.js';
import type { ImageHandle } from './native.js';
import { calling, knowing, NativeError } from './native-failure.js';

/** What a long verb tells and hears while it works. */
export interface Progress {
  readonly onAlive: () => void;
  readonly signal: AbortSignal;
}

/** A part of an image's comparison between two signs of life: about a second of it. */
const diffStepBytes = 128n * 1024n ** 3n;
const ecanceled = 125;

interface Iteration extends Progress {
  readonly fromSnap: string | null;
  /** Whether objects count as a whole. */
  readonly whole: boolean;
  /** Answers whether to go on. */
  readonly onExtent: (length: number, exists: boolean) => boolean;
}

/** Compares an image as it is open with a snapshot, or with nothing, in steps. */
export const iterate = async (
  { native }: Connection,
  image: ImageHandle,
  { fromSnap, whole, onExtent, onAlive, signal }: Iteration,
): Promise<'ended' | 'ended-early'> => {
  const stat = Buffer.alloc(160);
  knowing('image', native.rbd_stat, image, stat, stat.length);
  const size = stat.readBigUInt64LE(0);
  let isEnough = false;
  const found = (_: number | bigint, length: number, exists: number): number => {
    isEnough ||= !onExtent(length, exists !== 0);
    return isEnough ? -ecanceled : 0;
  };
  // An image of no size is asked as well, so that a snapshot that is not there is told.
  for (let at = 0n; at === 0n || at < size; at += diffStepBytes) {
    if (signal.aborted) throw new NativeError({ errno: ecanceled, at: 'call', call: 'rbd_diff_iterate2' });
    const length = size - at < diffStepBytes ? size - at : diffStepBytes;
    try {
      await calling('snapshot', native.rbd_diff_iterate2, image, fromSnap, at, length, 1, whole ? 1 : 0, found, null);
    } catch (thrown) {
      if (isEnough) return 'ended-early';
      throw thrown;
    }
    onAlive();
  }
  return 'ended';
};
