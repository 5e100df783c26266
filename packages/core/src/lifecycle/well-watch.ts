import { setTimeout as sleep } from 'node:timers/promises';
import { toFerryError } from '../errors/ferry-error.js';
import type { Logger } from '../log/logger.js';
import { Pauses } from './back-off.js';

/** Something that must be well for a daemon to do its work. */
export interface Concern {
  /** Named in the log, as `what`; one of a kind. */
  readonly name: string;
  /** Throws while something is wrong. Cheap: it is called again and again for as long as the daemon lives. */
  readonly check: (signal: AbortSignal) => Promise<void>;
  /** What is to be done once it is well, and again until that succeeds; its failure is the concern's. May take long. */
  readonly first?: (signal: AbortSignal) => Promise<void>;
  /** The pause while all is well, in milliseconds; a minute when left out. */
  readonly everyMs?: number;
  /** Takes as long as there is much to look at: that it has not answered says nothing. */
  readonly isLong?: boolean;
}

const soonestMs = 1_000;
const minuteMs = 60_000;
/** A cluster that hangs must not keep a daemon from saying that it is ready. */
const firstLookMs = 2_000;

export interface WellWatchOptions {
  /** What is looked after. Asked again at each look, so what a reload brings is seen, and what it takes away is let go. */
  readonly concerns: () => readonly Concern[];
  readonly log: Logger;
  /** Ends it. */
  readonly signal: AbortSignal;
  /** Told after each look whether all is well, as far as is known. */
  readonly onLook: (isWell: boolean) => void;
  readonly pause?: (ms: number, signal: AbortSignal) => Promise<void>;
}

/**
 * Looks after the concerns of a daemon for as long as it lives, each by itself, so that a cluster that hangs does not hide a certificate
 * that has ended: every minute, and while something is wrong after a second at first and a minute at last. A trouble is one error record
 * with code and hint, when it is new or has changed. Never throws.
 */
export class WellWatch {
  readonly #options: WellWatchOptions;
  readonly #pause: (ms: number, signal: AbortSignal) => Promise<void>;
  readonly #loops = new Map<string, Promise<void>>();
  /** What is not well, with what was said of it. */
  readonly #unwell = new Map<string, string>();
  readonly #done = new Set<string>();
  readonly #wakers = new Set<() => void>();

  constructor(options: WellWatchOptions) {
    this.#options = options;
    this.#pause = options.pause ?? wait;
  }

  /**
   * Begins, and says `ready` when each concern has answered, or after two seconds: with these fields and the names of what is `notWell`. What
   * is silent then counts as not well until it answers.
   */
  async start(fields: object): Promise<void> {
    const { log, signal, onLook } = this.#options;
    const silent = new Set<string>();
    const answers = this.#options.concerns().map(async (concern) => {
      if (concern.isLong !== true) silent.add(concern.name);
      await this.#begin(concern);
      silent.delete(concern.name);
    });
    signal.addEventListener(
      'abort',
      () => {
        this.look();
      },
      { once: true },
    );
    await Promise.race([Promise.all(answers), this.#pause(firstLookMs, signal)]);
    for (const what of silent) {
      this.#unwell.set(what, '');
      log.warn({ what }, 'no answer yet');
    }
    if (signal.aborted) return;
    onLook(this.#unwell.size === 0);
    const notWell = [...this.#unwell.keys()];
    log[notWell.length === 0 ? 'info' : 'warn']({ ...fields, notWell }, 'ready');
  }

  /** Looks at everything at once: something may have changed. */
  look(): void {
    for (const wake of this.#wakers) wake();
  }

  /** Resolves when nothing is being looked at any more, once the signal has aborted. */
  async ended(): Promise<void> {
    await Promise.all(this.#loops.values());
  }

  /** Answers when the concern has been looked at for the first time. */
  #begin(concern: Concern): Promise<void> {
    return new Promise((resolve) => {
      this.#loops.set(concern.name, this.#loop(concern.name, resolve));
    });
  }

  async #loop(name: string, onAnswer: () => void): Promise<void> {
    const { signal, onLook, concerns } = this.#options;
    const pauses = new Pauses({ firstMs: soonestMs, longestMs: minuteMs });
    while (!signal.aborted) {
      const concern = concerns().find((each) => each.name === name);
      if (concern === undefined) break;
      const isWell = await this.#check(concern, onAnswer);
      if (signal.aborted) break;
      onLook(this.#unwell.size === 0);
      this.#beginNew();
      if (isWell) pauses.restart();
      await this.#pauseOrWaking(isWell ? (concern.everyMs ?? minuteMs) : pauses.next());
    }
    this.#loops.delete(name);
    if (this.#unwell.delete(name) && !signal.aborted) onLook(this.#unwell.size === 0);
  }

  async #check(concern: Concern, onAnswer: () => void): Promise<boolean> {
    const { log, signal } = this.#options;
    const { name, check, first } = concern;
    try {
      await check(signal);
      onAnswer();
      if (this.#unwell.get(name) === '') this.#wellAgain(name);
      if (first !== undefined && !this.#done.has(name)) await first(signal);
      this.#done.add(name);
      this.#wellAgain(name);
      return true;
    } catch (thrown) {
      if (signal.aborted) return false;
      const { code, message, hint } = toFerryError(thrown);
      if (this.#unwell.get(name) !== message) log.error({ what: name, code, error: message, hint }, 'not well');
      this.#unwell.set(name, message);
      return false;
    } finally {
      onAnswer();
    }
  }

  #wellAgain(name: string): void {
    if (!this.#unwell.delete(name)) return;
    this.#options.log.info({ what: name }, 'well again');
    this.#options.onLook(this.#unwell.size === 0);
  }

  #beginNew(): void {
    for (const concern of this.#options.concerns()) if (!this.#loops.has(concern.name)) void this.#begin(concern);
  }

  async #pauseOrWaking(ms: number): Promise<void> {
    const woken = new AbortController();
    const wake = () => {
      woken.abort();
    };
    this.#wakers.add(wake);
    try {
      await this.#pause(ms, woken.signal);
    } finally {
      this.#wakers.delete(wake);
    }
  }
}

const wait = async (ms: number, signal: AbortSignal): Promise<void> => {
  await sleep(ms, undefined, { signal, ref: false }).catch(() => {});
};
