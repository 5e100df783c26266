import type { FerryError } from '../errors/ferry-error.js';

/** Finds out whether a pool is full; answers the error to fail with, or null. Rejects when it cannot be found out. */
export type AskForSpace = (signal: AbortSignal) => Promise<FerryError | null>;

/** The longest time between two questions, in milliseconds. */
const seldomMs = 60_000;

/**
 * Tells once that a pool turned out to be full: asks after a while, and then less and less often. An answer that does not come (the
 * user may not ask) is none. A timer and no more until it asks: there is one of these for each MiB that is written.
 */
class SpaceWatch {
  readonly #ask: AskForSpace;
  readonly #onFull: (error: FerryError) => void;
  #waitMs: number;
  #timer: NodeJS.Timeout;
  #question: { readonly ending: AbortController; readonly answered: Promise<void> } | null = null;

  constructor(ask: AskForSpace, afterMs: number, onFull: (error: FerryError) => void) {
    this.#ask = ask;
    this.#onFull = onFull;
    this.#waitMs = afterMs;
    this.#timer = setTimeout(this.#look, afterMs);
  }

  /** Ends it; resolves when no question is under way any more. Never rejects. */
  async stop(): Promise<void> {
    clearTimeout(this.#timer);
    this.#question?.ending.abort();
    await this.#question?.answered;
  }

  readonly #look = (): void => {
    const ending = new AbortController();
    this.#question = { ending, answered: this.#answer(ending.signal) };
  };

  async #answer(signal: AbortSignal): Promise<void> {
    const error = await this.#ask(signal).catch(() => null);
    if (signal.aborted) return;
    if (error !== null) {
      this.#onFull(error);
      return;
    }
    this.#waitMs = Math.max(this.#waitMs, Math.min(this.#waitMs * 2, seldomMs));
    this.#timer = setTimeout(this.#look, this.#waitMs);
  }
}

export interface SpaceOptions {
  /** How long a write may wait before it is asked about, in milliseconds. */
  readonly afterMs: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * A write to a full pool waits for ever and says nothing. So whoever waits longer than usual asks, and what waits is ended with
 * the reason that it gets in its signal.
 */
export const whileSpace = async <T>(
  work: (signal: AbortSignal) => Promise<T>,
  ask: AskForSpace,
  { afterMs, signal }: SpaceOptions,
): Promise<T> => {
  const full = new AbortController();
  const watch = new SpaceWatch(ask, afterMs, (error) => {
    full.abort(error);
  });
  try {
    return await work(signal === undefined ? full.signal : AbortSignal.any([signal, full.signal]));
  } finally {
    await watch.stop();
  }
};

/** The same for a step that takes no signal: it is left waiting, and whoever catches the error ends what it waits for. */
export const orFull = async <T>(step: Promise<T>, ask: AskForSpace, { afterMs }: SpaceOptions): Promise<T> => {
  let watch: SpaceWatch | undefined;
  const full = new Promise<never>((_, reject) => {
    watch = new SpaceWatch(ask, afterMs, reject);
  });
  try {
    return await Promise.race([step, full]);
  } finally {
    void watch?.stop();
    step.catch(() => {});
  }
};
