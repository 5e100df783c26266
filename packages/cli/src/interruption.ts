import { FerryError } from '@rbdferry/core/errors/ferry-error.js';

const usualSignals = ['SIGINT', 'SIGTERM'] as const;

/** The wish to stop, once it comes by Ctrl-C or SIGTERM. */
export interface Interruption {
  /** Aborts at the first one. */
  readonly signal: AbortSignal;
  /** Lets the signals have their usual effect again. */
  release(): void;
}

/**
 * Catches Ctrl-C and SIGTERM.
 *
 * @param onSecond called at the second one, when somebody will not wait any longer
 * @param signals those that count
 */
export const catchInterruption = (
  onSecond: () => void,
  signals: readonly NodeJS.Signals[] = usualSignals,
): Interruption => {
  const controller = new AbortController();
  const listener = () => {
    if (controller.signal.aborted) onSecond();
    else controller.abort(new FerryError('CANCELLED', 'interrupted'));
  };
  for (const name of signals) process.on(name, listener);
  return {
    signal: controller.signal,
    release() {
      for (const name of signals) process.off(name, listener);
    },
  };
};
