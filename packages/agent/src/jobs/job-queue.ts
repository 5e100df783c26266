import type { KeyedLock, Release } from '@rbdferry/core/lifecycle/keyed-lock.js';
import type { Retry } from '@rbdferry/core/model/job-state.js';
import type { JobKinds } from './job-kind.js';
import type { LiveJob } from './live-job.js';
import type { Lane, Slots } from './slots.js';

/** What a job has when it starts. */
export interface Held {
  /** Its image. */
  readonly image: Release;
  /** Does nothing for one that transfers nothing. */
  readonly slot: Release;
}

interface QueueOptions {
  readonly kinds: JobKinds;
  readonly images: KeyedLock;
  readonly slots: Slots;
  /** Milliseconds since 1970. */
  readonly now: () => number;
}

/** Of the jobs that a batch holds images for; restores come before. */
const batchPriority = 1;
const nothing: Release = () => {};
/** A timer may be late, and never early: but the clock may be set. */
const longestSleepMs = 60_000;

/** Jobs that wait: for a slot, for their image, for the time of their next attempt. */
export class JobQueue {
  readonly #options: QueueOptions;
  readonly #waiting: LiveJob[] = [];
  #timer: NodeJS.Timeout | undefined;

  constructor(options: QueueOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#waiting.length;
  }

  add(live: LiveJob): void {
    this.#waiting.push(live);
  }

  remove(live: LiveJob): void {
    const at = this.#waiting.indexOf(live);
    if (at >= 0) this.#waiting.splice(at, 1);
  }

  /**
   * Somebody waits for an image, to restore it: a job of a batch that holds it from afar, and has not started, lets go of it. It begins by itself
   * when its turn comes, with a snapshot of that time.
   */
  letGo(image: string): void {
    for (const live of this.#waiting) {
      if (live.job.image !== image) continue;
      const held = live.takeHeld();
      if (held === null) continue;
      live.begun = null;
      held();
    }
  }

  /** Starts what may start, in the order of the kinds and then of arrival, and looks again when the time of another one has come. */
  pump(start: (live: LiveJob, held: Held) => void): void {
    clearTimeout(this.#timer);
    for (const live of this.#waiting.toSorted((a, b) => this.#priority(a) - this.#priority(b))) {
      const held = this.#holdFor(live);
      if (held === null) continue;
      this.remove(live);
      live.waitsFor = null;
      start(live, held);
    }
    const sleepMs = this.#nextMs() - this.#options.now();
    if (sleepMs === Infinity) return;
    this.#timer = setTimeout(
      () => {
        this.pump(start);
      },
      Math.min(Math.max(sleepMs, 1), longestSleepMs),
    ).unref();
  }

  /** Starts nothing more by itself. */
  stop(): void {
    clearTimeout(this.#timer);
  }

  #priority({ job: { request } }: LiveJob): number {
    return this.#options.kinds[request.kind]?.priority ?? 0;
  }

  /** Null while it cannot start. */
  #holdFor(live: LiveJob): Held | null {
    const { kinds, images, slots, now } = this.#options;
    const { job } = live;
    const retry = retryOf(live);
    if (retry !== undefined && retry.notBeforeMs > now()) {
      live.waitsFor = waitText(retry);
      return null;
    }
    const slot = kinds[job.request.kind]?.transfers === true ? slots.take(this.#laneOf(live)) : nothing;
    if (slot === undefined) {
      live.waitsFor = `one of ${slots.most} transfers to end`;
      return null;
    }
    if (this.#priority(live) < batchPriority) this.letGo(job.image);
    const image = live.takeHeld() ?? (job.image === '' ? nothing : images.tryAcquire(job.image));
    if (image !== undefined) return { image, slot };
    live.waitsFor = `another job on ${job.image}`;
    slot();
    return null;
  }

  /** A large one leaves room to smaller ones of its batch as long as any wait: ninety small images do not wait for two giants. */
  #laneOf({ isLarge, job }: LiveJob): Lane {
    if (!isLarge) return 'any';
    const { parent } = job.request;
    const smallWait = this.#waiting.some((other) => !other.isLarge && other.job.request.parent === parent);
    return smallWait ? 'large' : 'any';
  }

  /** When the next attempt may start; Infinity when none waits for its time. */
  #nextMs(): number {
    const { now } = this.#options;
    const times = this.#waiting.map((live) => retryOf(live)?.notBeforeMs ?? 0);
    return Math.min(Infinity, ...times.filter((ms) => ms > now()));
  }
}

const retryOf = ({ job: { state } }: LiveJob): Retry | undefined => (state.kind === 'queued' ? state.retry : undefined);

/** Codes that say that the receiver is away. */
const away: ReadonlySet<string> = new Set(['RECEIVER_UNREACHABLE', 'CONNECTION_LOST']);

const waitText = ({ attempt, notBeforeMs, error }: Retry): string => {
  const what = away.has(error.code) ? 'the receiver to come back' : `${error.code} to pass`;
  const at = new Date(notBeforeMs).toISOString();
  return `${what}, attempt ${attempt} at ${at.slice(0, 19).replace('T', ' ')}Z`;
};
