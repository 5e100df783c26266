import { setTimeout as sleep } from 'node:timers/promises';
import type { FerryError } from '../errors/ferry-error.js';

/** Finds out whether a pool is full; answers the error to fail with, or null. Rejects when it cannot be found out. */
export type AskForRoom = (signal: AbortSignal) => Promise<FerryError | null>;

/** The longest time between two questions, in milliseconds. */
const seldomMs = 60_000;

/**
 * Resolves with the error once a pool turns out to be full: asks after a while, and then less and less often. An answer that does
 * not come (the user may not ask) is none. Rejects when the signal is aborted.
 */
const untilFull = async (ask: AskForRoom, afterMs: number, signal: AbortSignal): Promise<FerryError> => {
  for (let waitMs = afterMs; ; waitMs = Math.min(waitMs * 2, Math.max(seldomMs, afterMs))) {
    await sleep(waitMs, undefined, { signal });
    const error = await ask(signal).catch(() => null);
    if (error !== null) return error;
  }
};

export interface RoomOptions {
  /** How long a write may wait before it is asked about, in milliseconds. */
  readonly afterMs: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * A write to a full pool waits for ever and says nothing. So whoever waits longer than usual asks, and what waits is ended with
 * the reason that it gets in its signal. Costs nothing while all is well.
 */
export const whileRoom = async <T>(
  work: (signal: AbortSignal) => Promise<T>,
  ask: AskForRoom,
  { afterMs, signal }: RoomOptions,
): Promise<T> => {
  const full = new AbortController();
  const done = new AbortController();
  const watching = untilFull(ask, afterMs, done.signal).then(
    (error) => {
      full.abort(error);
    },
    () => {},
  );
  try {
    return await work(signal === undefined ? full.signal : AbortSignal.any([signal, full.signal]));
  } finally {
    done.abort();
    await watching;
  }
};

/** The same for a step that takes no signal: it is left waiting, and whoever catches the error ends what it waits for. */
export const orFull = async <T>(step: Promise<T>, ask: AskForRoom, { afterMs }: RoomOptions): Promise<T> => {
  const done = new AbortController();
  const full = untilFull(ask, afterMs, done.signal).then((error) => {
    throw error;
  });
  try {
    return await Promise.race([step, full]);
  } finally {
    done.abort();
    step.catch(() => {});
    full.catch(() => {});
  }
};
