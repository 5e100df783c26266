import type { KeyedLock } from '@rbdferry/core/lifecycle/keyed-lock.js';
import { hasEnded } from '@rbdferry/core/model/job-state.js';
import type { ChildCounts, JobStore } from './job-store.js';
import type { Job, JobRequest, LooseEnd } from './job.js';
import type { LiveJob } from './live-job.js';
import type { LooseEndHandle, LooseEnds } from './loose-ends.js';

/** What the runner does for the children of a batch. */
export interface ChildRunner {
  /** Writes a job down; it is not queued yet. */
  add(request: JobRequest): LiveJob;
  /** It was not written down after all. */
  forget(live: LiveJob): void;
  /** Queues it. Nothing starts before {@link start}. */
  queue(live: LiveJob): void;
  /** Starts what may start. */
  start(): void;
  live(id: string): LiveJob | undefined;
  cancel(id: string): Promise<unknown>;
  /** Resolves when something has changed about this batch, like the end of one of its jobs, or after so long, or when the signal is aborted. */
  childEnded(parent: string, withinMs: number, signal: AbortSignal): Promise<void>;
}

export interface ChildDeps {
  readonly store: JobStore;
  readonly looseEnds: LooseEnds;
  readonly images: KeyedLock;
  readonly runner: ChildRunner;
}

/** How the jobs of a batch get on, in bytes of their diff streams. */
export interface ChildProgress {
  readonly doneBytes: number;
  /** Null while it is not known of each. */
  readonly totalBytes: number | null;
  readonly running: number;
  readonly left: number;
}

/** A job of a batch, before it is queued. */
export class ChildJob {
  readonly #live: LiveJob;
  readonly #deps: ChildDeps;

  constructor(live: LiveJob, deps: ChildDeps) {
    this.#live = live;
    this.#deps = deps;
  }

  get id(): string {
    return this.#live.job.id;
  }

  /** Keeps others off its image until it has ended. False when one works on it now. */
  hold(): boolean {
    const held = this.#deps.images.tryAcquire(this.#live.job.image);
    if (held === undefined) return false;
    this.#live.hold(held);
    return true;
  }

  warn(message: string): void {
    this.#live.warnings.push(message);
  }

  facts(facts: Parameters<LiveJob['setFacts']>[0]): void {
    this.#live.setFacts(facts);
  }

  looseEnd(end: LooseEnd): LooseEndHandle {
    return this.#deps.looseEnds.add(this.id, end);
  }

  /** Queues it. @param begun what its first attempt goes on with; null when it begins by itself */
  queue(begun: unknown, { isLarge }: { readonly isLarge: boolean }): void {
    this.#live.begun = begun;
    this.#live.isLarge = isLarge;
    this.#deps.runner.queue(this.#live);
  }

  /** Whether it was queued and has not started. */
  get isWaiting(): boolean {
    return this.#live.job.state.kind === 'queued';
  }
}

/** The jobs of one batch. Each is a job like any other, which goes on whatever becomes of the batch. */
export class ChildJobs {
  readonly #parent: string;
  readonly #deps: ChildDeps;
  readonly #open = new Set<string>();
  readonly #ended = { bytes: 0 };

  constructor(parent: string, deps: ChildDeps) {
    this.#parent = parent;
    this.#deps = deps;
  }

  /** Those that an earlier life of the agent, or an attempt before, has written down; from now on they are waited for. */
  earlier(): Job[] {
    const jobs = this.#deps.store.list({ parent: this.#parent, limit: mostChildren });
    for (const job of jobs) this.#open.add(job.id);
    return jobs;
  }

  /** Writes them down, all or none. None starts before it is queued. */
  add(requests: readonly JobRequest[], alsoWrite: (children: readonly ChildJob[]) => void): void {
    const { store, runner } = this.#deps;
    const added: LiveJob[] = [];
    try {
      store.together(() => {
        for (const request of requests) added.push(runner.add({ ...request, parent: this.#parent }));
        alsoWrite(added.map((live) => new ChildJob(live, this.#deps)));
      });
    } catch (thrown) {
      // Nothing of them is on disk, so nothing of them may stay in memory either: they hold their images.
      for (const live of added) runner.forget(live);
      throw thrown;
    }
    for (const { job } of added) this.#open.add(job.id);
  }

  /** Those that were queued may start. */
  start(): void {
    this.#deps.runner.start();
  }

  /** Many records as one. */
  together(write: () => void): void {
    this.#deps.store.together(write);
  }

  counts(): ChildCounts {
    return this.#deps.store.childCounts(this.#parent);
  }

  /** From the first of their snapshots to the last one, in milliseconds; null when they were not made together. */
  spread(ms: number | null): void {
    this.#deps.store.saveSpread(this.#parent, ms);
  }

  /** Those that did not commit, with their errors. */
  failed(): Job[] {
    const jobs = this.#deps.store.list({ parent: this.#parent, limit: mostChildren });
    return jobs.filter(({ state }) => state.kind === 'failed' || state.kind === 'cancelled').toReversed();
  }

  progress(): ChildProgress {
    let doneBytes = 0;
    let totalBytes: number | null = 0;
    let running = 0;
    for (const id of this.#open) {
      const live = this.#deps.runner.live(id);
      if (live === undefined) {
        const job = this.#deps.store.get(id);
        // One that waits for recovery to settle what it left is not over.
        if (job !== undefined && !hasEnded(job.state)) totalBytes = null;
        else this.#close(id, job);
        continue;
      }
      const view = live.progress.view();
      if (live.job.state.kind === 'running') running += 1;
      doneBytes += view.doneBytes;
      totalBytes = totalBytes === null || view.totalBytes === null ? null : totalBytes + view.totalBytes;
    }
    const ended = this.#ended.bytes;
    return {
      doneBytes: ended + doneBytes,
      totalBytes: totalBytes === null ? null : ended + totalBytes,
      running,
      left: this.#open.size,
    };
  }

  /** Waits for the next of them to end, so long at most, and not once the signal is aborted. */
  nextEnd(withinMs: number, signal: AbortSignal): Promise<void> {
    return this.#deps.runner.childEnded(this.#parent, withinMs, signal);
  }

  /** Asks all of them to stop, and waits until they have. */
  async cancel(): Promise<void> {
    await Promise.all([...this.#open].map((id) => this.#deps.runner.cancel(id)));
  }

  #close(id: string, job: Job | undefined): void {
    this.#open.delete(id);
    if (job?.state.kind === 'committed') this.#ended.bytes += job.state.streamBytes;
  }
}

/** Far above any batch; a bound, not a limit anybody should meet. */
const mostChildren = 1_000_000;
