import { Counter, Gauge, type Registry } from 'prom-client';
import { errorCodes, isErrorCode, type ErrorCode } from '@rbdferry/core/errors/registry.js';
import { CertificateMetrics } from '@rbdferry/core/metrics/certificate-metrics.js';
import { ConnectionMetrics } from '@rbdferry/core/metrics/connection-metrics.js';
import { Latest, type LatestEntry } from '@rbdferry/core/metrics/latest.js';
import { addFoldedGauge, addLatestGauge } from '@rbdferry/core/metrics/latest-gauge.js';
import { createRegistry } from '@rbdferry/core/metrics/registry.js';
import { measuredResults, TransferMetrics, type MeasuredResult } from '@rbdferry/core/metrics/transfer-metrics.js';
import { parseBackupId, snapTime, timestampToMs } from '@rbdferry/core/model/backup-id.js';
import { software } from '@rbdferry/core/rpc/protocol.js';
import { jobKindNames } from './job-kinds.js';
import type { Job } from './jobs/job.js';

const prefix = 'rbdferry_agent_';

type Labels = Readonly<Record<'image' | 'receiver' | 'store', string>>;

interface Success extends LatestEntry<Labels> {
  /** When the snapshot of the backup was made; seconds since 1970. */
  readonly snapshotSeconds: number;
  readonly jobCreatedAtMs: number;
}

/** Everything the agent tells Prometheus; docs/metrics.md explains each metric. */
export class AgentMetrics {
  readonly registry: Registry = createRegistry(prefix, software);
  readonly transfers = new TransferMetrics(prefix, this.registry);
  /** By receiver. */
  readonly connections = new ConnectionMetrics(prefix, 'receiver', this.registry);
  readonly certificates = new CertificateMetrics(prefix, this.registry, { isByReceiver: true });
  readonly #jobs: Counter<'kind' | 'result'>;
  readonly #errors: Counter<'code' | 'origin'>;
  readonly #successes = new Latest<Labels, Success>();
  /** Those of images that are gone from the source, by labels: an image may come back under its name. */
  readonly #retired = new Map<string, Success>();

  constructor() {
    const { registry } = this;
    const registers = [registry];
    this.#jobs = new Counter({
      name: `${prefix}jobs_total`,
      help: 'Jobs that have ended.',
      labelNames: ['kind', 'result'],
      registers,
    });
    this.#errors = new Counter({
      name: `${prefix}errors_total`,
      help: 'Jobs and calls of the control API that failed, by code of the error registry.',
      labelNames: ['code', 'origin'],
      registers,
    });
    // Prometheus does not count what a series is born with: so each one is there before its first event.
    for (const result of measuredResults) for (const kind of jobKindNames) this.#jobs.inc({ kind, result }, 0);
    for (const code of errorCodes) for (const origin of ['job', 'call']) this.#errors.inc({ code, origin }, 0);
    const labelNames = ['image', 'receiver', 'store'] as const;
    addLatestGauge(this.#successes, {
      name: `${prefix}last_success_timestamp_seconds`,
      help: 'When the newest successful backup of an image ended, in seconds since 1970.',
      labelNames,
      valueOf: ({ atSeconds }) => atSeconds,
      registry,
    });
    addLatestGauge(this.#successes, {
      name: `${prefix}last_snapshot_timestamp_seconds`,
      help: 'When the snapshot of the newest successful backup of an image was made, in seconds since 1970.',
      labelNames,
      valueOf: ({ snapshotSeconds }) => snapshotSeconds,
      registry,
    });
    addFoldedGauge(prefix, this.#successes, registry);
  }

  /** Looks at the queue at each scrape. */
  watchQueue(counts: () => { readonly queued: number; readonly running: number }): void {
    this.registry.registerMetric(
      new Gauge({
        name: `${prefix}jobs`,
        help: 'Jobs that have not ended.',
        labelNames: ['state'],
        registers: [],
        collect() {
          for (const [state, count] of Object.entries(counts())) this.set({ state }, count);
        },
      }),
    );
  }

  callFailed(code: ErrorCode): void {
    this.#errors.inc({ code, origin: 'call' });
  }

  /** A job has ended. */
  jobEnded(job: Job): void {
    const { state, request } = job;
    this.#jobs.inc({ kind: request.kind, result: resultOf(job) });
    const success = successOf(job);
    if (success !== null) this.#happened(success);
    if (state.kind !== 'failed') return;
    // Never a code that the registry does not have: a label must not grow with what a newer receiver says.
    this.#errors.inc({ code: isErrorCode(state.error.code) ? state.error.code : 'INTERNAL', origin: 'job' });
  }

  /** There was this successful job in an earlier life of the agent, the last one for its image. */
  succeeded(job: Job): void {
    const success = successOf(job);
    if (success !== null) this.#successes.found(success);
  }

  /** Images with a successful backup, as POOL[/NAMESPACE]/IMAGE; those that are gone included. */
  get images(): string[] {
    return [...this.#successes.entries, ...this.#retired.values()].map(({ labels }) => labels.image);
  }

  /**
   * What a look at the source found. An image that is gone has no series until it is there again. Answers those that went, and came back.
   * @param askedAtMs when the look began: an image that was backed up since is there
   */
  found(
    { gone, there }: { readonly gone: readonly string[]; readonly there: readonly string[] },
    askedAtMs: number,
  ): { readonly went: readonly string[]; readonly cameBack: readonly string[] } {
    const [went, cameBack] = [new Set<string>(), new Set<string>()];
    const [goneNow, thereNow] = [new Set(gone), new Set(there)];
    this.#successes.removeIf((success) => {
      const { image } = success.labels;
      if (!goneNow.has(image) || success.atSeconds * 1000 >= askedAtMs) return false;
      this.#retired.set(keyOf(success), success);
      went.add(image);
      return true;
    });
    for (const [key, success] of this.#retired) {
      const { image } = success.labels;
      if (!thereNow.has(image)) continue;
      this.#retired.delete(key);
      this.#successes.found(success);
      cameBack.add(image);
    }
    return { went: [...went], cameBack: [...cameBack] };
  }

  /** Jobs made before then are forgotten. */
  forget(beforeMs: number): void {
    this.#successes.removeIf(({ jobCreatedAtMs }) => jobCreatedAtMs < beforeMs);
    for (const [key, { jobCreatedAtMs }] of this.#retired) if (jobCreatedAtMs < beforeMs) this.#retired.delete(key);
  }

  #happened(success: Success): void {
    this.#retired.delete(keyOf(success));
    this.#successes.happened(success);
  }
}

const keyOf = ({ labels }: Success): string => JSON.stringify(labels);

/** How an ended job ended. */
export const resultOf = ({ state }: Pick<Job, 'state'>): MeasuredResult => {
  if (state.kind === 'committed') return 'ok';
  return state.kind === 'cancelled' ? 'cancelled' : 'failed';
};

/** Null of a job that made no backup. */
const successOf = ({ state, request, image, backupId, createdAtMs }: Job): Success | null => {
  if (state.kind !== 'committed' || request.kind !== 'backup') return null;
  const labels = { image, receiver: request.receiver, store: request.store };
  const atSeconds = state.endedAtMs / 1000;
  return { labels, atSeconds, snapshotSeconds: snapshotSecondsOf(backupId) ?? atSeconds, jobCreatedAtMs: createdAtMs };
};

const snapshotSecondsOf = (id: string | null): number | undefined => {
  const parts = id === null ? undefined : parseBackupId(id);
  const time = parts?.ok === true ? snapTime(parts.value.snap) : undefined;
  return time === undefined ? undefined : timestampToMs(time) / 1000;
};
