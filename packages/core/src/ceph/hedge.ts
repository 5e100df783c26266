import { setTimeout as sleep } from 'node:timers/promises';

/** A way to an answer; the signal ends it. */
type Way<T> = (signal: AbortSignal) => Promise<T>;

/**
 * Asks the first way, and, when that has not answered in time, a second way as well. The first good answer counts, and the other
 * way is ended. An error of the first way is an answer; one of the second is not.
 */
export const hedge = async <T>(
  first: Way<T>,
  second: Way<T>,
  { afterMs, signal }: { afterMs: number; signal: AbortSignal | undefined },
): Promise<T> => {
  const done = new AbortController();
  const either = signal === undefined ? done.signal : AbortSignal.any([signal, done.signal]);
  const asked = first(either);
  const late = sleep(afterMs, undefined, { signal: either }).then(() => second(either));
  try {
    // Only a good answer of the second way may win: its failure leaves the matter to the first.
    return await Promise.race([asked, late.catch(() => asked)]);
  } finally {
    done.abort();
    await Promise.allSettled([asked, late]);
  }
};
