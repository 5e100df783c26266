import type { Waits } from '../model/stages.js';

/**
 * Counts what one end of a transfer waits for, and what comes past it. Costs two looks at the clock for each item and each
 * write, which are about a MiB. A wait that is under way counts as far as it has come.
 */
export class StageMeter {
  readonly #upstream: Stopwatch;
  readonly #downstream: Stopwatch;
  readonly #limit: Stopwatch;
  #bytes = 0;

  /** @param now a monotonic clock in milliseconds */
  constructor(now: () => number = () => performance.now()) {
    this.#upstream = new Stopwatch(now);
    this.#downstream = new Stopwatch(now);
    this.#limit = new Stopwatch(now);
  }

  /** The same items; waiting for the next one is waiting for the side that they come from. */
  async *arriving<T>(items: AsyncIterable<T>): AsyncGenerator<T, void, undefined> {
    this.#upstream.start();
    try {
      for await (const item of items) {
        this.#upstream.stop();
        yield item;
        this.#upstream.start();
      }
    } finally {
      this.#upstream.stop();
    }
  }

  /** The same items; until the next one is asked for, the side that they go to is waited for. */
  async *departing<T>(items: AsyncIterable<T>): AsyncGenerator<T, void, undefined> {
    for await (const item of items) {
      this.#downstream.start();
      try {
        yield item;
      } finally {
        this.#downstream.stop();
      }
    }
  }

  /** The same outcome; waiting for it is waiting for the side where the bytes go. */
  async leaving<T>(step: Promise<T>): Promise<T> {
    this.#downstream.start();
    try {
      return await step;
    } finally {
      this.#downstream.stop();
    }
  }

  /** The same outcome; waiting for it is waiting because of a limit. */
  async limiting<T>(step: Promise<T>): Promise<T> {
    this.#limit.start();
    try {
      return await step;
    } finally {
      this.#limit.stop();
    }
  }

  /** So many bytes of the diff stream have come past. */
  passed(bytes: number): void {
    this.#bytes += bytes;
  }

  get waits(): Waits {
    return {
      bytes: this.#bytes,
      upstreamMs: this.#upstream.elapsedMs,
      downstreamMs: this.#downstream.elapsedMs,
      limitMs: this.#limit.elapsedMs,
    };
  }
}

/** Time during which at least one wait was under way. */
class Stopwatch {
  readonly #now: () => number;
  #running = 0;
  #sinceMs = 0;
  #doneMs = 0;

  constructor(now: () => number) {
    this.#now = now;
  }

  start(): void {
    if (this.#running === 0) this.#sinceMs = this.#now();
    this.#running += 1;
  }

  /** Stopping one that does not run does nothing. */
  stop(): void {
    if (this.#running === 0) return;
    this.#running -= 1;
    if (this.#running === 0) this.#doneMs += this.#now() - this.#sinceMs;
  }

  get elapsedMs(): number {
    return this.#doneMs + (this.#running > 0 ? this.#now() - this.#sinceMs : 0);
  }
}
