import { rateAt, type Rate, type RateLimit } from '../model/rate-limit.js';

export interface Clock {
  /** Milliseconds that only go forward. */
  readonly nowMs: () => number;
  /** Minutes since midnight, local time. */
  readonly minuteOfDay: () => number;
}

export const systemClock: Clock = {
  nowMs: () => performance.now(),
  minuteOfDay: () => {
    const now = new Date();
    return now.getHours() * 60 + now.getMinutes();
  },
};

/** What an idle bucket saves up, as a time. So no second sees more than 1.25 seconds' worth. */
const burstMs = 250;

/**
 * Says how long to wait so that bytes go out at a rate. Any number of users may share one: whoever asks waits behind those
 * who asked before, so users that take pieces of equal size get equal shares.
 *
 * What is owed is kept as a time, not as bytes, so a change of the rate never makes anybody wait for what was sent before it.
 */
export class TokenBucket {
  readonly #limit: RateLimit;
  readonly #clock: Clock;
  /** When everything taken so far has been paid for, on the clock. */
  #paidAtMs: number;

  constructor(limit: RateLimit, clock: Clock = systemClock) {
    this.#limit = limit;
    this.#clock = clock;
    this.#paidAtMs = clock.nowMs();
  }

  /** The rate that applies now. */
  rate(): Rate {
    return rateAt(this.#limit, this.#clock.minuteOfDay());
  }

  /** Takes the bytes, and says how many milliseconds to wait before they may go out. They count as gone either way. */
  take(bytes: number): number {
    const rate = this.rate();
    if (rate === null) return 0;
    const now = this.#clock.nowMs();
    this.#paidAtMs = Math.max(this.#paidAtMs, now - burstMs) + (bytes * 1000) / rate;
    return Math.max(0, this.#paidAtMs - now);
  }
}
