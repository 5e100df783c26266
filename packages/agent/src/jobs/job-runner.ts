import { randomBytes } from 'node:crypto';
import type { CephPort } from '@rbdferry/core/ceph/port.js';
import { FerryError, throwIfAborted, toFerryError } from '@rbdferry/core/errors/ferry-error.js';
import { orThrow } from '@rbdferry/core/errors/parsed.js';
import { KeyedLock, type Release } from '@rbdferry/core/lifecycle/keyed-lock.js';
import { describeStages } from '@rbdferry/core/log/describe-stages.js';
import type { Logger } from '@rbdferry/core/log/logger.js';
import { parseImageSpec } from '@rbdferry/core/model/image-spec.js';
import type { TransferEnd } from '@rbdferry/core/model/stages.js';
import { TransferStages } from '@rbdferry/core/transfer/transfer-stages.js';
import { resultOf, type AgentMetrics } from '../agent-metrics.js';
import { runBackup } from '../backup/backup.js';
import type { AgentConfig } from '../config.js';
import { TransferLimits, type JobLimits } from '../limits.js';
import { clockWarning } from '../receiver-client/clock-difference.js';
import type { ConnectOptions, ReceiverClient } from '../receiver-client/receiver-client.js';
import { runRestore } from '../restore/restore.js';
import type { JobContext, JobOutcome } from './job-context.js';
import type { JobStore } from './job-store.js';
import type { Job, JobRequest } from './job.js';
import { LiveJob, type JobView } from './live-job.js';
import type { LooseEnds } from './loose-ends.js';
import { Progress } from './progress.js';

export interface JobRunnerOptions {
  readonly store: JobStore;
  readonly looseEnds: LooseEnds;
  readonly ceph: CephPort;
  /** The one that holds now. */
  readonly config: () => AgentConfig;
  readonly log: Logger;
  readonly metrics: AgentMetrics;
  readonly connect: (receiver: string, options: ConnectOptions) => Promise<ReceiverClient>;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  /** Told when a job has failed or was cancelled: it may have left something to settle. */
  readonly onBroken: () => void;
}

const watchIntervalMs = 500;

interface WayToReceiver {
  readonly receiver: ReceiverClient;
  readonly limits: JobLimits;
}

/** Queues jobs and runs them: so many at a time, one per image, restores first. */
export class JobRunner {
  readonly #options: JobRunnerOptions;
  #limits: TransferLimits;
  readonly #images = new KeyedLock();
  readonly #live = new Map<string, LiveJob>();
  readonly #queue: LiveJob[] = [];
  readonly #running = new Map<LiveJob, Promise<void>>();
  #stopping = false;

  constructor(options: JobRunnerOptions) {
    this.#options = options;
    const { receivers, max_transfers } = options.config();
    this.#limits = new TransferLimits(receivers, max_transfers);
  }

  /** Queues a job. The same idempotency key with the same request gives the same job again. @throws INVALID_REQUEST with another one */
  submit(request: JobRequest, idempotencyKey: string | null = null): JobView {
    if (this.#stopping) throw new FerryError('JOB_INTERRUPTED', 'the agent is stopping');
    const known = idempotencyKey === null ? undefined : this.#options.store.byIdempotencyKey(idempotencyKey);
    if (known !== undefined) {
      if (JSON.stringify(known.request) === JSON.stringify(request)) return this.#viewOf(known);
      throw new FerryError(
        'INVALID_REQUEST',
        `the idempotency key ${JSON.stringify(idempotencyKey)} belongs to job ${known.id}, which was asked for something else`,
        { hint: 'use a key of its own for each request' },
      );
    }
    const job: Job = {
      id: newJobId(),
      request,
      state: { kind: 'queued' },
      createdAtMs: this.#options.now(),
      image: request.kind === 'backup' ? request.image : (request.to ?? ''),
      backupId: request.kind === 'restore' ? request.backupId : null,
      backupKind: null,
    };
    this.#options.store.add(job, idempotencyKey);
    this.#options.log.info({ job: job.id, ...request }, 'job queued');
    const live = this.#adopt(job);
    this.#pump();
    return live.view();
  }

  /** Queues again what an earlier life of the agent had queued but not begun. */
  resume(queued: readonly Job[]): void {
    for (const job of queued) this.#adopt(job);
    this.#pump();
  }

  /** @throws JOB_NOT_FOUND */
  get(id: string): JobView {
    const live = this.#live.get(id);
    if (live !== undefined) return live.view();
    const job = this.#options.store.get(id);
    if (job === undefined) throw new FerryError('JOB_NOT_FOUND', `there is no job ${JSON.stringify(id)}`);
    return this.#viewOf(job);
  }

  list(filter: {
    readonly image?: string | undefined;
    readonly activeOnly?: boolean;
    readonly limit: number;
  }): JobView[] {
    return this.#options.store.list(filter).map((job) => this.#viewOf(job));
  }

  /** Runs a step while no job works on the image. @throws IMAGE_BUSY when one does */
  async exclusively<T>(image: string, step: () => Promise<T>): Promise<T> {
    const release = this.#images.tryAcquire(image);
    if (release === undefined) throw new FerryError('IMAGE_BUSY', `a job works on ${image}`);
    try {
      return await step();
    } finally {
      release();
      this.#pump();
    }
  }

  /** Whether a job works on the image. */
  worksOn(image: string): boolean {
    const release = this.#images.tryAcquire(image);
    release?.();
    return release === undefined;
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
    return { queued: this.#queue.length, running: this.#running.size };
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
      if (isOver(view)) return;
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
    return live.view();
  }

  /** Breaks running jobs off (they clean up) and starts no more; queued ones stay queued on disk. */
  async stop(): Promise<void> {
    this.#stopping = true;
    for (const live of this.#running.keys()) {
      live.controller.abort(new FerryError('JOB_INTERRUPTED', 'the agent was stopped while the job ran'));
    }
    await Promise.all(this.#running.values());
  }

  #viewOf(job: Job): JobView {
    return this.#live.get(job.id)?.view() ?? { ...job, progress: new Progress().view(), stages: null, waitsFor: null };
  }

  #adopt(job: Job): LiveJob {
    const { store, metrics, now } = this.#options;
    const live = new LiveJob(job, store, { onEnded: metrics.jobEnded.bind(metrics), now });
    this.#live.set(job.id, live);
    this.#queue.push(live);
    return live;
  }

  /** Starts what may start: restores before backups, else in order of arrival. */
  #pump(): void {
    if (this.#stopping) return;
    const { max_transfers } = this.#options.config();
    const order = [...this.#queue].sort((a, b) => priority(a) - priority(b));
    for (const live of order) {
      if (this.#running.size >= max_transfers) {
        live.waitsFor = `one of ${max_transfers} transfers to end`;
        continue;
      }
      const release = live.job.image === '' ? () => {} : this.#images.tryAcquire(live.job.image);
      if (release === undefined) {
        live.waitsFor = `another job on ${live.job.image}`;
        continue;
      }
      this.#queue.splice(this.#queue.indexOf(live), 1);
      this.#start(live, release);
    }
  }

  #start(live: LiveJob, release: Release): void {
    live.waitsFor = null;
    live.apply({ kind: 'start' });
    const held: Release[] = [release];
    const run = this.#run(live, held).finally(() => {
      for (const each of held) each();
      this.#endTransfer(live);
      this.#running.delete(live);
      this.#live.delete(live.job.id);
      if (live.job.state.kind !== 'committed') this.#options.onBroken();
      this.#pump();
    });
    this.#running.set(live, run);
  }

  /** Never throws: whatever happens becomes the job's end. */
  async #run(live: LiveJob, held: Release[]): Promise<void> {
    const { log } = this.#options;
    const { request } = live.job;
    const startedAt = performance.now();
    try {
      const limits = this.#limits.of(request.receiver, request.limitBytesPerSecond ?? null);
      const receiver = await this.#options.connect(request.receiver, {
        signal: live.controller.signal,
        onFacts: (facts) => {
          this.#options.metrics.connections.saw(request.receiver, facts);
        },
        ...(request.kind === 'restore' ? { readsWithin: limits } : {}),
      });
      try {
        const { compression } = receiver;
        if (compression.kind === 'impossible') {
          live.warnings.push(`compression is configured, but ${compression.why}; this went uncompressed`);
        }
        const clocks = clockWarning(receiver);
        if (clocks !== null) live.warnings.push(clocks);
        const outcome = await this.#recipe(live, { receiver, limits }, held);
        const { stages, warnings } = live;
        const [streamBytes, { wireBytes }] = [Number(outcome.streamBytes), live.progress];
        live.apply({ kind: 'committed', streamBytes, warnings, ...(stages === null ? {} : { stages }) });
        log.info({ ...aboutJob(live.job, startedAt), streamBytes, wireBytes }, 'job committed');
      } finally {
        receiver.close();
      }
    } catch (thrown) {
      const error = toFerryError(thrown);
      if (error.code === 'CANCELLED' && live.controller.signal.aborted) {
        live.apply({ kind: 'cancelled' });
        log.info(aboutJob(live.job, startedAt), 'job cancelled');
        return;
      }
      live.apply({ kind: 'failed', error: { code: error.code, message: error.message, hint: error.hint } });
      const { code, message, hint } = error;
      const { doneBytes } = live.progress.view();
      log.error(
        { ...aboutJob(live.job, startedAt), doneBytes, code, error: message, hint, ...stackOf(error) },
        'job failed',
      );
    }
  }

  #recipe(live: LiveJob, way: WayToReceiver, held: Release[]): Promise<JobOutcome> {
    const { request } = live.job;
    const context = this.#context(live, way, held);
    if (request.kind === 'backup') {
      const image = orThrow(parseImageSpec(request.image), 'INVALID_IMAGE_SPEC');
      return runBackup({ image, mode: request.mode, store: request.store }, context);
    }
    const to = request.to === null ? null : orThrow(parseImageSpec(request.to), 'INVALID_IMAGE_SPEC');
    return runRestore({ backupId: request.backupId, to, replace: request.replace }, context);
  }

  #context(live: LiveJob, { receiver, limits }: WayToReceiver, held: Release[]): JobContext {
    const { ceph, log, looseEnds } = this.#options;
    const config = this.#options.config();
    const { signal } = live.controller;
    const holds = new Set([live.job.image]);
    return {
      ceph,
      receiver,
      config,
      log: log.child({ job: live.job.id }),
      signal,
      progress: live.progress,
      limits,
      jobs: this.#options.store,
      now: this.#options.now,
      phase: (phase) => {
        live.apply({ kind: 'phase', phase });
      },
      transfer: (end) => this.#beginTransfer(live, end),
      hold: async (image) => {
        if (holds.has(image)) return;
        held.push(this.#images.tryAcquire(image) ?? (await this.#waitFor(image, live)));
        holds.add(image);
      },
      warn: (message) => {
        live.warnings.push(message);
      },
      facts: (facts) => {
        live.setFacts(facts);
      },
      looseEnd: (end) => looseEnds.add(live.job.id, end),
    };
  }

  async #waitFor(image: string, live: LiveJob): Promise<Release> {
    live.waitsFor = `another job on ${image}`;
    try {
      return await this.#images.acquire(image, { signal: live.controller.signal });
    } finally {
      live.waitsFor = null;
    }
  }

  #beginTransfer(live: LiveJob, end: TransferEnd): TransferStages {
    const { request, backupKind } = live.job;
    const kind = request.kind === 'restore' ? 'restore' : (backupKind ?? 'full');
    const stages = new TransferStages(end);
    const direction = end === 'sender' ? 'sent' : 'received';
    live.beginTransfer(stages, this.#options.metrics.transfers.begin({ kind, direction }, stages));
    return stages;
  }

  #endTransfer(live: LiveJob): void {
    const { stages, job } = live;
    if (stages === null) return;
    const result = resultOf(job);
    live.endTransfer(result);
    this.#options.log.info({ job: job.id, backup: job.backupId, result, ...describeStages(stages) }, 'transfer ended');
  }

  #dropEnded(live: LiveJob): void {
    if (!live.ended) return;
    const at = this.#queue.indexOf(live);
    if (at >= 0) this.#queue.splice(at, 1);
    this.#live.delete(live.job.id);
  }
}

const isOver = (view: JobView): boolean => view.state.kind !== 'queued' && view.state.kind !== 'running';

const priority = (live: LiveJob): number => (live.job.request.kind === 'restore' ? 0 : 1);

/** Ten letters and digits that are easy to type and to read out. */
const newJobId = (): string => {
  const alphabet = 'abcdefghjkmnpqrstuvwxyz23456789';
  return [...randomBytes(10)].map((byte) => alphabet[byte % alphabet.length]).join('');
};

/** What says in each record of a job's end which job it was, and how long it took. */
const aboutJob = ({ id, request, image, backupId }: Job, startedAt: number) => ({
  job: id,
  kind: request.kind,
  image,
  receiver: request.receiver,
  store: request.store,
  backup: backupId,
  durationMs: Math.round(performance.now() - startedAt),
});

/** Only a defect of ours needs its stack in the log. */
const stackOf = (error: FerryError): { stack?: string } => {
  const stack = error.cause instanceof Error ? error.cause.stack : error.stack;
  return error.code === 'INTERNAL' && stack !== undefined ? { stack } : {};
};
