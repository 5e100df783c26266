import type { CephPort } from '@rbdferry/core/ceph/port.js';
import { toFerryError } from '@rbdferry/core/errors/ferry-error.js';
import type { Logger } from '@rbdferry/core/log/logger.js';
import type { Backup } from '@rbdferry/core/model/chain.js';
import { hasEnded, transition, type JobEvent } from '@rbdferry/core/model/job-state.js';
import type { ReceiverClient } from '../receiver-client/receiver-client.js';
import { goesOnLater, interrupted } from './interrupted.js';
import type { JobKinds, RecoverDeps } from './job-kind.js';
import type { JobRunner } from './job-runner.js';
import type { JobStore } from './job-store.js';
import type { Job } from './job.js';
import type { Settled } from './loose-end-kind.js';
import type { LooseEnds } from './loose-ends.js';

export interface RecoveryOptions {
  readonly kinds: JobKinds;
  readonly store: JobStore;
  readonly looseEnds: LooseEnds;
  readonly runner: Pick<JobRunner, 'owns' | 'resume' | 'unlessBusy'>;
  readonly ceph: CephPort;
  readonly connect: (receiver: string, options: { signal: AbortSignal }) => Promise<ReceiverClient>;
  readonly log: Logger;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  /** Told of the end of a job that an earlier life of the agent was running. */
  readonly onEnded: (job: Job) => void;
}

const manyJobs = 100_000;

/**
 * Settles what earlier jobs left: loose ends, and jobs that an earlier life of the agent was running.
 * Called at start-up and then again and again, for the sake of receivers and clusters that were not there the last time.
 *
 * @returns whether something could not be settled yet
 */
export const settleLeftovers = async (options: RecoveryOptions, signal: AbortSignal): Promise<{ left: boolean }> => {
  const settled = await settleEnds(options, signal);
  return { left: await endOrphans(settled, options, signal) };
};

interface EndsSettled {
  /** By job. */
  readonly settled: ReadonlyMap<string, Settled>;
  /** Jobs of which something could not be settled. */
  readonly open: Set<string>;
}

const settleEnds = async (options: RecoveryOptions, signal: AbortSignal): Promise<EndsSettled> => {
  const { looseEnds, runner, log } = options;
  const settledOf = new Map<string, Settled>();
  const open = new Set<string>();
  for (const { jobId, end, handle } of looseEnds.kept()) {
    if (signal.aborted) break;
    if (runner.owns(jobId)) continue;
    try {
      const settled = await handle.settle({
        beforeClose: async (how) => {
          if (how.kind === 'completed' && how.backup !== null) await commitAfterAll(jobId, how.backup, options, signal);
        },
      });
      if (settled.kind === 'waiting') continue;
      settledOf.set(jobId, settled);
      log.info({ job: jobId, settled: settled.kind, ...end }, 'settled what an earlier job left');
    } catch (thrown) {
      open.add(jobId);
      const error = toFerryError(thrown);
      log.warn(
        { job: jobId, code: error.code, error: error.message },
        'could not settle what an earlier job left; trying again later',
      );
    }
  }
  return { settled: settledOf, open };
};

/** Answers whether something is open still. */
const endOrphans = async (
  { settled, open }: EndsSettled,
  options: RecoveryOptions,
  signal: AbortSignal,
): Promise<boolean> => {
  const { store, runner, log } = options;
  for (const job of store.list({ activeOnly: true, limit: manyJobs })) {
    if (signal.aborted) break;
    if (job.state.kind !== 'running' || runner.owns(job.id) || open.has(job.id)) continue;
    try {
      await endOrphan(job, settled.get(job.id), options, signal);
    } catch (thrown) {
      log.warn(
        { job: job.id, error: toFerryError(thrown).message },
        'could not find out how the job ended; trying again later',
      );
      open.add(job.id);
    }
  }
  return open.size > 0;
};

const depsOf = ({ ceph, store, connect, runner }: RecoveryOptions, signal: AbortSignal): RecoverDeps => ({
  ceph,
  jobs: store,
  connect: (receiver) => connect(receiver, { signal }),
  unlessBusy: (image, step) => runner.unlessBusy(image, step),
});

/**
 * A job that lost its receiver at the commit was told as failed, since nobody could say more. Now it is known that the backup was committed:
 * the job's record says so, and the base that it replaced goes.
 */
const commitAfterAll = async (
  jobId: string,
  backup: Backup,
  options: RecoveryOptions,
  signal: AbortSignal,
): Promise<void> => {
  const job = options.store.get(jobId);
  const kind = job === undefined ? undefined : options.kinds[job.request.kind];
  if (job?.state.kind !== 'failed' || kind === undefined) return;
  const warnings = await kind.commitAfterAll(job, backup, depsOf(options, signal));
  end(job, { kind: 'found-committed', streamBytes: Number(backup.streamBytes), warnings }, options);
  options.log.info({ job: jobId, backup: backup.id }, 'the backup of a failed job was committed after all');
};

/** Writes down how a job of an earlier life ended. */
const endOrphan = async (
  job: Job,
  settled: Settled | undefined,
  options: RecoveryOptions,
  signal: AbortSignal,
): Promise<void> => {
  const kind = options.kinds[job.request.kind];
  const event = kind === undefined ? interrupted(job) : await kind.recover(job, settled, depsOf(options, signal));
  const { log, now, runner } = options;
  if (event.kind === 'failed' && event.error.code === 'JOB_INTERRUPTED' && goesOnLater(job, options.kinds)) {
    const queued = end(job, { kind: 'retry', notBeforeMs: now(), error: event.error }, options);
    log.info({ job: job.id }, 'the agent had been stopped while this job ran; it goes on');
    if (queued !== null) runner.resume([queued]);
    return;
  }
  end(job, event, options);
  log.info({ job: job.id, end: event.kind }, 'the agent had been stopped while this job ran');
};

/** Answers the job as it is then; null when that event cannot happen any more. */
const end = (job: Job, event: JobEvent, { store, now, onEnded }: RecoveryOptions): Job | null => {
  const state = transition(job.state, event, now());
  if (state === null) return null;
  store.saveState(job.id, state);
  const next = { ...job, state };
  if (hasEnded(state)) onEnded(next);
  return next;
};
