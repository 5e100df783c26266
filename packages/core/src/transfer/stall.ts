import { FerryError, abortReason, throwIfAborted } from '../errors/ferry-error.js';
import type { Life } from './life.js';

/** The longest time a timer of Node takes (24 days); it runs a longer one off at once. */
const maxTimerMs = 2 ** 31 - 1;

export interface StallWatch {
  /** How long it may be without life. */
  readonly ms: number;
  /** What does not move, for the message: `the receiver took no data`. */
  readonly what: string;
  /** Of whatever is waited for. */
  readonly life: Life;
}

/**
 * Fails with TRANSFER_STALLED when a step takes longer than `ms` without a sign of life. The step itself is not stopped: whoever
 * catches the error ends what it was waiting for.
 */
export const withinStallTime = async <T>(step: Promise<T>, watch: StallWatch): Promise<T> => {
  const { ms, life } = watch;
  const sinceMs = performance.now();
  let timer: NodeJS.Timeout | undefined;
  const stalled = new Promise<never>((_, reject) => {
    const look = (): void => {
      const leftMs = ms - Math.min(life.silentMs, performance.now() - sinceMs);
      if (leftMs > 0) timer = setTimeout(look, Math.min(Math.ceil(leftMs), maxTimerMs));
      else reject(stallError(watch));
    };
    timer = setTimeout(look, Math.min(ms, maxTimerMs));
  });
  try {
    return await Promise.race([step, stalled]);
  } finally {
    clearTimeout(timer);
    step.catch(() => {});
  }
};

const stallError = ({ ms, what, life }: StallWatch): FerryError =>
  new FerryError('TRANSFER_STALLED', `${what} for ${Math.round(ms / 1000)} s`, { hint: life.hintAfter(ms) });

/**
 * Fails with the signal's reason once it is aborted, however long the step takes. The step itself is not stopped here either.
 */
export const unlessAborted = async <T>(step: Promise<T>, signal: AbortSignal): Promise<T> => {
  let onAbort = () => {};
  const aborted = new Promise<never>((_, reject) => {
    onAbort = () => {
      reject(abortReason(signal));
    };
    signal.addEventListener('abort', onAbort, { once: true });
  });
  try {
    throwIfAborted(signal);
    return await Promise.race([step, aborted]);
  } finally {
    signal.removeEventListener('abort', onAbort);
    step.catch(() => {});
  }
};

/**
 * The same items, with each wait for the next one watched. A source that stalled is told to end, but not waited for: whoever
 * made it must stop what it hangs on (abort its signal).
 */
export async function* watchStall<T>(items: AsyncIterable<T>, watch: StallWatch): AsyncGenerator<T, void, undefined> {
  const iterator = items[Symbol.asyncIterator]();
  let waiting = false;
  try {
    for (;;) {
      waiting = true;
      const next = await withinStallTime(iterator.next(), watch);
      waiting = false;
      if (next.done === true) return;
      yield next.value;
    }
  } finally {
    // A generator that hangs in `next` queues `return` behind it: waiting for that would hang as well.
    const closed = close(iterator);
    if (waiting) closed.catch(() => {});
    else await closed;
  }
}

const close = async (iterator: AsyncIterator<unknown>): Promise<void> => {
  await iterator.return?.();
};
