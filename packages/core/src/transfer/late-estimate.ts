import { setTimeout as sleep } from 'node:timers/promises';

/**
 * How long a transfer must last before its total is worth a second look at the image, in milliseconds: the look takes a quarter of
 * a second of CPU and more, which a short transfer can use better.
 */
const afterMs = 3_000;

/**
 * Finds out, beside a transfer that lasts, how much there will be. Never throws: without an answer the total stays unknown.
 *
 * @param signal aborts when the transfer has ended
 */
export const estimateLater = async (
  look: (signal: AbortSignal) => Promise<bigint>,
  onEstimate: (streamBytes: bigint) => void,
  signal: AbortSignal,
): Promise<void> => {
  try {
    await sleep(afterMs, undefined, { signal });
    onEstimate(await look(signal));
  } catch {
    // The transfer has ended, or will tell what is wrong.
  }
};
