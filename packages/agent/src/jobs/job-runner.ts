import { randomBytes } from 'node:crypto';
import { FerryError, throwIfAborted } from '@rbdferry/core/errors/ferry-error.js';
import { KeyedLock, type Release } from '@rbdferry/core/lifecycle/keyed-lock.js';
import { describeStages } from '@rbdferry/core/log/describe-stages.js';
import { hasEnded, type JobPhase } from '@rbdferry/core/model/job-state.js';
import type { TransferEnd } from '@rbdferry/core/model/stages.js';
import { TransferStages } from '@rbdferry/core/transfer/transfer-stages.js';
import { resultOf } from '../agent-metrics.js';
import type { AgentConfig } from '../config.js';
import { TransferLimits, type JobLimits } from '../limits.js';
import { ChildJobs, type ChildRunner } from './child-jobs.js';
import { JobQueue, type Held } from './job-queue.js';
import type { JobFilter } from './job-store.js';
import type { Job, JobRequest } from './job.js';
import { LentSlots } from './lent-slots.js';
import { LiveJob, type JobView } from './live-job.js';
import { Progress } from './progress.js';
import { runJob, type ForJob, type JobDeps } from './run-job.js';
import { Slots } from './slots.js';

export interface JobRunnerOptions extends JobDeps {
  /** Told when a job has failed or was cancelled: it may have left something to settle. */
  readonly onBroken: () => void;
}

const watchIntervalMs = 500;
/** How often it is looked for transfers that do not move, while jobs wait. */
const lendEveryMs = 5_000;

/** Phases after the transfer, which need no slot. */
const afterTransfer: ReadonlySet<JobPhase> = new Set(['verify', 'swap', 'clean-up']);

/** Queues jobs and runs them: so many transfers at a time, one job per image, in the order of their kinds. */
export class JobRunner {
  readonly #options: JobRunnerOptions;
  #limits: TransferLimits;
  readonly #images = new KeyedLock();
  readonly #live = new Map<string, LiveJob>();
  readonly #queue: JobQueue;
  readonly #running = new Map<LiveJob, Promise<void>>();
  readonly #lent = new LentSlots();
  #lending: NodeJS.Timeout | undefined;
  #stopping = false;

  constructor(options: JobRunnerOptions) {
    this.#options = options;
    const { kinds, now, config } = options;
    const { receivers, max_transfers } = config();
    this.#limits = new TransferLimits(receivers, max_transfers);
    const slots = new Slots(() => config().max_transfers);
    this.#queue = new JobQueue({ kinds, now, slots, images: this.#images });
  }

  /** Queues a job. The same idempotency key with the same request gives the same job again. @throws INVALID_REQUEST with another one */
  submit(request: JobRequest, idempotencyKey: string | null = null): JobView {
    if (this.#stopping) throw new FerryError('JOB_INTERRUPTED', 'the agent is stopping');
    const { store, log } = this.#options;
    const known = idempotencyKey === null ? undefined : store.byIdempotencyKey(idempotencyKey);
    if (known !== undefined) {
      if (JSON.stringify(known.request) === JSON.stringify(request)) return this.#viewOf(known);
      throw new FerryError(
        'INVALID_REQUEST',
        `the idempotency key ${JSON.stringify(idempotencyKey)} belongs to job ${known.id}, which was asked for something else`,
        { hint: 'use a key of its own for each request' },
      );
    }
    const job = this.#newJob(request);
    store.add(job, idempotencyKey);
    log.info({ job: job.id, ...request }, 'job queued');
    this.#queue.add(this.#adopt(job));
    this.#pump();
    return this.#viewOf(job);
  }

  /** Queues again what an earlier life of the agent had queued but not begun. */
  resume(queued: readonly Job[]): void {
    for (const job of queued) this.#queue.add(this.#adopt(job));
    this.#pump();
  }

  /** @throws JOB_NOT_FOUND */
  get(id: string): JobView {
    const live = this.#live.get(id);
    const job = live?.job ?? this.#options.store.get(id);
    if (job === undefined) throw new FerryError('JOB_NOT_FOUND', `there is no job ${JSON.stringify(id)}`);
    return this.#viewOf(job);
  }

  list(filter: JobFilter): JobView[] {
    return this.#options.store.list(filter).map((job) => this.#viewOf(job));
  }

  /** Runs a step while no job works on the image. @throws IMAGE_BUSY when one does */
  async exclusively<T>(image: string, step: () => Promise<T>): Promise<T> {
    const release = this.#images.tryAcquire(image);
    if (release === undefined) throw new FerryError('IMAGE_BUSY', `a job works on ${image}`);
    return this.#holding(release, step);
  }

  /** Runs a step while no job works on the image; when one does, it is left out. */
  async unlessBusy(image: string, step: () => Promise<void>): Promise<void> {
    const release = this.#images.tryAcquire(image);
    if (release !== undefined) await this.#holding(release, step);
  }

  /** The limits of a transfer that begins now and shares the receiver's with the jobs. @param own its own limit; null for none */
  limits(receiver: string, own: number | null): JobLimits {
    return this.#limits.of(receiver, own);
  }

  /** Jobs that begin from now on have these limits; those that run keep theirs. */
  reconfigured({ receivers, max_transfers }: AgentConfig): void {
    this.#limits = new TransferLimits(receivers, max_transfers, this.#limits);
    setImmediate(() => {
      this.#pump();
    });
  }

  /** How many jobs wait, and how many run. */
  get counts(): { readonly queued: number; readonly running: number } {
    return { queued: this.#queue.size, running: this.#running.size };
  }

  /** Whether this life of the agent works on the job. */
  owns(id: string): boolean {
    return this.#live.has(id);
  }

  /** The job now and at each change, until it has ended. @throws JOB_NOT_FOUND */
  async *watch(id: string, signal: AbortSignal): AsyncGenerator<JobView, void, undefined> {
    for (;;) {
      throwIfAborted(signal);
      const live = this.#live.get(id);
      const since = live?.version ?? 0;
      const view = this.get(id);
      yield view;
      if (hasEnded(view.state)) return;
      if (live === undefined) await new Promise((resolve) => setTimeout(resolve, watchIntervalMs));
      else await live.changed(since, watchIntervalMs, signal);
    }
  }

  /** Asks a job to stop and waits until it has ended. @throws JOB_NOT_FOUND */
  async cancel(id: string, signal: AbortSignal): Promise<JobView> {
    const live = this.#live.get(id);
    if (live === undefined) return this.get(id);
    live.apply({ kind: 'cancel-asked' });
    live.controller.abort(new FerryError('CANCELLED', `job ${id} was cancelled`));
    this.#dropEnded(live);
    while (!live.ended) {
      await live.changed(live.version, watchIntervalMs, signal);
      throwIfAborted(signal);
    }
    return this.#viewOf(live.job);
  }

  /** Breaks running jobs off (they clean up) and starts no more; queued ones stay queued on disk. */
  async stop(): Promise<void> {
    this.#stopping = true;
    this.#queue.stop();
    clearTimeout(this.#lending);
    for (const live of this.#running.keys()) {
      live.controller.abort(new FerryError('JOB_INTERRUPTED', 'the agent was stopped while the job ran'));
    }
    await Promise.all(this.#running.values());
  }

  #newJob(request: JobRequest): Job {
    const { kinds, now } = this.#options;
    const kind = kinds[request.kind];
    if (kind === undefined) throw new FerryError('INTERNAL', `there is no job of the kind "${request.kind}"`);
    return {
      id: newJobId(),
      request,
      state: { kind: 'queued' },
      createdAtMs: now(),
      image: kind.image(request),
      backupId: kind.backupId(request),
      backupKind: null,
    };
  }

  #viewOf(job: Job): JobView {
    const live = this.#live.get(job.id);
    const now = live?.view() ?? { ...job, progress: new Progress().view(), stages: null, waitsFor: null };
    const { kinds, store } = this.#options;
    return { ...now, children: kinds[job.request.kind]?.hasChildren === true ? store.childCounts(job.id) : null };
  }

  #adopt(job: Job): LiveJob {
    const { store, metrics, now } = this.#options;
    const live = new LiveJob(job, store, { onEnded: metrics.jobEnded.bind(metrics), now });
    this.#live.set(job.id, live);
    return live;
  }

  async #holding<T>(release: Release, step: () => Promise<T>): Promise<T> {
    try {
      return await step();
    } finally {
      release();
      this.#pump();
    }
  }

  #pump(): void {
    if (this.#stopping) return;
    this.#queue.pump((live, held) => {
      this.#start(live, held);
    });
    // Not anew each time: jobs that end one after the other would put it off for ever.
    if (this.#queue.size > 0) this.#lending ??= setTimeout(this.#lend, lendEveryMs).unref();
  }

  readonly #lend = (): void => {
    this.#lending = undefined;
    if (this.#lent.lend(this.#options.config().max_transfers))
      this.#options.log.info('a transfer that does not move lends its slot');
    this.#pump();
  };

  #start(live: LiveJob, { image, slot }: Held): void {
    live.apply({ kind: 'start' });
    const held: Release[] = [image, slot];
    this.#lent.started(live, slot);
    const run = runJob(live, this.#for(live, held, slot), this.#options).finally(() => {
      for (const each of held) each();
      this.#lent.ended(live);
      this.#endTransfer(live);
      this.#running.delete(live);
      this.#live.delete(live.job.id);
      if (!live.ended) this.#queue.add(this.#adopt(live.job));
      if (live.job.state.kind !== 'committed') this.#options.onBroken();
      this.#pump();
      const { parent } = live.job.request;
      if (parent !== undefined) this.#live.get(parent)?.touch();
    });
    this.#running.set(live, run);
  }

  #for(live: LiveJob, held: Release[], slot: Release): ForJob {
    const holds = new Set([live.job.image]);
    return {
      limits: this.#limits,
      phase: (phase) => {
        live.apply({ kind: 'phase', phase });
        if (!afterTransfer.has(phase)) return;
        slot();
        setImmediate(() => {
          this.#pump();
        });
      },
      transfer: (end) => this.#beginTransfer(live, end),
      hold: async (image) => {
        if (holds.has(image)) return;
        held.push(this.#images.tryAcquire(image) ?? (await this.#waitFor(image, live)));
        holds.add(image);
      },
      children: new ChildJobs(live.job.id, { ...this.#options, images: this.#images, runner: this.#childRunner }),
      // Its own image is held by itself.
      unlessBusy: (image, step) => (holds.has(image) ? step() : this.unlessBusy(image, step)),
    };
  }

  readonly #childRunner: ChildRunner = {
    add: (request) => {
      const job = this.#newJob(request);
      this.#options.store.add(job, null);
      return this.#adopt(job);
    },
    forget: (live) => {
      live.takeHeld()?.();
      this.#live.delete(live.job.id);
    },
    queue: (live) => {
      if (!live.ended) this.#queue.add(live);
    },
    start: () => {
      this.#pump();
    },
    live: (id) => this.#live.get(id),
    cancel: (id) => this.cancel(id, new AbortController().signal),
    childEnded: async (parent, withinMs, signal) => {
      const live = this.#live.get(parent);
      await live?.changed(live.version, withinMs, signal);
    },
  };

  async #waitFor(image: string, live: LiveJob): Promise<Release> {
    live.waitsFor = `another job on ${image}`;
    this.#queue.letGo(image);
    try {
      return await this.#images.acquire(image, { signal: live.controller.signal });
    } finally {
      live.waitsFor = null;
    }
  }

  #beginTransfer(live: LiveJob, end: TransferEnd): TransferStages {
    const { kinds, metrics } = this.#options;
    const kind = kinds[live.job.request.kind]?.transferKind(live.job) ?? 'full';
    const stages = new TransferStages(end);
    const direction = end === 'sender' ? 'sent' : 'received';
    live.beginTransfer(stages, metrics.transfers.begin({ kind, direction }, stages));
    return stages;
  }

  #endTransfer(live: LiveJob): void {
    const { stages, job } = live;
    if (stages === null) return;
    const result = resultOf(job);
    live.endTransfer(result);
    this.#options.log.info({ job: job.id, backup: job.backupId, result, ...describeStages(stages) }, 'transfer ended');
  }

  /** It had not started: what earlier attempts of it have left is to be settled now. */
  #dropEnded(live: LiveJob): void {
    if (!live.ended) return;
    this.#queue.remove(live);
    live.takeHeld()?.();
    this.#live.delete(live.job.id);
    this.#options.onBroken();
  }
}

/** Ten letters and digits that are easy to type and to read out. */
const newJobId = (): string => {
  const alphabet = 'abcdefghjkmnpqrstuvwxyz23456789';
  return [...randomBytes(10)].map((byte) => alphabet[byte % alphabet.length]).join('');
};
