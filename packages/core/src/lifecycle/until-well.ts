import { setTimeout as sleep } from 'node:timers/promises';
import { toFerryError } from '../errors/ferry-error.js';
import type { Logger } from '../log/logger.js';

/** What must be well before a daemon can do its work. */
export interface Concern {
  /** Named in the log, as `what`. */
  readonly name: string;
  /** Throws while something is wrong. */
  readonly check: (signal: AbortSignal) => Promise<void>;
}

const firstDelayMs = 1_000;
const longestDelayMs = 60_000;

/**
 * Checks each concern until it is well, with longer and longer pauses between the rounds. Each trouble is an error record with code and
 * hint, when it is new or has changed. Never throws; resolves when all is well, or when the signal aborts.
 *
 * @param onRound told after each round what is not well yet
 */
export const untilWell = async (
  concerns: readonly Concern[],
  options: {
    readonly log: Logger;
    readonly signal: AbortSignal;
    readonly onRound: (unwell: readonly string[]) => void;
    readonly pause?: (ms: number, signal: AbortSignal) => Promise<void>;
  },
): Promise<void> => {
  const { log, signal, onRound, pause = wait } = options;
  const said = new Map<string, string>();
  let left = [...concerns];
  for (let delayMs = firstDelayMs; ; delayMs = Math.min(delayMs * 2, longestDelayMs)) {
    const unwell: Concern[] = [];
    for (const concern of left) {
      try {
        await concern.check(signal);
        if (said.has(concern.name)) log.info({ what: concern.name }, 'well again');
      } catch (thrown) {
        if (signal.aborted) return;
        unwell.push(concern);
        const { code, message, hint } = toFerryError(thrown);
        if (said.get(concern.name) !== message)
          log.error({ what: concern.name, code, error: message, hint }, 'not well');
        said.set(concern.name, message);
      }
    }
    left = unwell;
    onRound(unwell.map(({ name }) => name));
    if (left.length === 0) return;
    await pause(delayMs, signal);
    if (signal.aborted) return;
  }
};

const wait = async (ms: number, signal: AbortSignal): Promise<void> => {
  await sleep(ms, undefined, { signal, ref: false }).catch(() => {});
};
