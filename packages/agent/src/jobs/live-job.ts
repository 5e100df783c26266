import { EventEmitter } from 'node:events';
import type { BackupId } from '@rbdferry/core/model/backup-id.js';
import type { BackupKind } from '@rbdferry/core/model/chain.js';
import type { EndMeasuring, MeasuredResult } from '@rbdferry/core/metrics/transfer-metrics.js';
import type { Release } from '@rbdferry/core/lifecycle/keyed-lock.js';
import { hasEnded, transition, type JobEvent } from '@rbdferry/core/model/job-state.js';
import type { Stages } from '@rbdferry/core/model/stages.js';
import type { TransferStages } from '@rbdferry/core/transfer/transfer-stages.js';
import type { Job } from './job.js';
import type { ChildCounts, JobStore } from './job-store.js';
import { Progress, type ProgressView } from './progress.js';

/** A job as others see it: a plain value. */
export interface JobView extends Job {
  readonly progress: ProgressView;
  /** Null when there is no transfer (yet), or nothing was kept of it. */
  readonly stages: Stages | null;
  /** Null while it waits for nothing. */
  readonly waitsFor: string | null;
  /** Of a batch; null of any other job. */
  readonly children: ChildCounts | null;
}

/** A job that has not ended: its state on disk and in memory are changed together, here only. */
export class LiveJob {
  readonly controller = new AbortController();
  readonly progress = new Progress();
  readonly warnings: string[] = [];
  waitsFor: string | null = null;
  /** What a batch has begun for it, for its first attempt; null when it begins by itself. */
  begun: unknown = null;
  /** Whether it is one of the large ones of its batch, which leave room for the others. */
  isLarge = false;
  #held: Release | null = null;
  readonly #onEnded: (job: Job) => void;
  readonly #now: () => number;
  #transfer: { readonly stages: TransferStages; readonly end: EndMeasuring } | null = null;
  readonly #changes = new EventEmitter().setMaxListeners(0);
  #version = 0;
  readonly #store: JobStore;
  #job: Job;

  /** @param onEnded told of the job's end, once @param now milliseconds since 1970 */
  constructor(job: Job, store: JobStore, { onEnded, now }: { onEnded: (job: Job) => void; now: () => number }) {
    this.#job = job;
    this.#store = store;
    this.#onEnded = onEnded;
    this.#now = now;
  }

  get job(): Job {
    return this.#job;
  }

  get ended(): boolean {
    return hasEnded(this.#job.state);
  }

  /** Keeps others off its image from now on, until {@link takeHeld}. */
  hold(image: Release): void {
    this.#held = image;
  }

  /** Its image, which was held for it; null when it was not. */
  takeHeld(): Release | null {
    const held = this.#held;
    this.#held = null;
    return held;
  }

  /** Something has changed that is no part of the job itself, like one of its children. */
  touch(): void {
    this.#change(this.#job);
  }

  /** Applies an event; one that cannot happen in this state changes nothing. */
  apply(event: JobEvent): void {
    const next = transition(this.#job.state, event, this.#now());
    if (next === null) return;
    this.#store.saveState(this.#job.id, next);
    this.#change({ ...this.#job, state: next });
    if (this.ended) this.#onEnded(this.#job);
  }

  setFacts(facts: { backupId: BackupId; backupKind: BackupKind; image?: string }): void {
    const { backupId, backupKind, image = this.#job.image } = facts;
    this.#store.saveFacts(this.#job.id, { image, backupId, backupKind });
    this.#change({ ...this.#job, image, backupId, backupKind });
  }

  view(): Omit<JobView, 'children'> {
    return { ...this.#job, progress: this.progress.view(), stages: this.stages, waitsFor: this.waitsFor };
  }

  /** @param end to be called when the job has ended */
  beginTransfer(stages: TransferStages, end: EndMeasuring): void {
    this.#transfer = { stages, end };
  }

  /** The transfer counts as ended; without one nothing happens. */
  endTransfer(result: MeasuredResult): void {
    this.#transfer?.end(result);
  }

  /** Null before the transfer has begun. */
  get stages(): Stages | null {
    return this.#transfer?.stages.view ?? null;
  }

  /** Counts changes; see {@link changed}. */
  get version(): number {
    return this.#version;
  }

  /**
   * Resolves when there has been a change since that version, or after this many milliseconds. A change between looking at the
   * job and waiting for the next one is not missed.
   */
  changed(since: number, withinMs: number, signal: AbortSignal): Promise<void> {
    if (this.#version !== since) return Promise.resolve();
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        this.#changes.off('change', done);
        signal.removeEventListener('abort', done);
        resolve();
      };
      const timer = setTimeout(done, withinMs);
      this.#changes.on('change', done);
      signal.addEventListener('abort', done, { once: true });
    });
  }

  #change(job: Job): void {
    this.#job = job;
    this.#version += 1;
    this.#changes.emit('change');
  }
}
