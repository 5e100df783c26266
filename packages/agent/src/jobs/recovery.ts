import type { CephPort } from '@rbdferry/core/ceph/port.js';
import { toFerryError } from '@rbdferry/core/errors/ferry-error.js';
import { orThrow } from '@rbdferry/core/errors/parsed.js';
import type { Logger } from '@rbdferry/core/log/logger.js';
import type { Backup } from '@rbdferry/core/model/chain.js';
import { parseImageSpec } from '@rbdferry/core/model/image-spec.js';
import { transition, type JobEvent } from '@rbdferry/core/model/job-state.js';
import { newestCommon } from '@rbdferry/core/model/planner.js';
import { chainsOf, lookAtSource } from '../backup/look-at-source.js';
import { ownSnapshots } from '../backup/own-snapshots.js';
import { retire } from '../backup/retire.js';
import type { ReceiverClient } from '../receiver-client/receiver-client.js';
import type { JobRunner } from './job-runner.js';
import type { JobStore } from './job-store.js';
import type { Job } from './job.js';
import { ifExists, type LooseEnds, type Settled } from './loose-ends.js';

export interface RecoveryOptions {
  readonly store: JobStore;
  readonly looseEnds: LooseEnds;
  readonly runner: JobRunner;
  readonly ceph: CephPort;
  readonly connect: (receiver: string, options: { signal: AbortSignal }) => Promise<ReceiverClient>;
  readonly log: Logger;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  /** Told of the end of a job that an earlier life of the agent was running. */
  readonly onEnded: (job: Job) => void;
}

const manyJobs = 100_000;

/** How long a broken job waits to hear what the receiver has: it tries again later, and its user waits for the bad news. */
const settleAnswerMs = 30_000;

/**
 * Settles what earlier jobs left: loose ends on the source cluster, and jobs that an earlier life of the agent was running.
 * Called at start-up and then again and again, for the sake of receivers and clusters that were not there the last time.
 *
 * @returns whether something could not be settled yet
 */
export const settleLeftovers = async (options: RecoveryOptions, signal: AbortSignal): Promise<{ left: boolean }> => {
  const { store, looseEnds, runner, log } = options;
  const settledJobs = new Map<string, Settled>();
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
      settledJobs.set(jobId, settled);
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
  for (const job of store.list({ activeOnly: true, limit: manyJobs })) {
    if (signal.aborted) break;
    if (job.state.kind !== 'running' || runner.owns(job.id) || open.has(job.id)) continue;
    try {
      await endOrphan(job, settledJobs.get(job.id), options, signal);
    } catch (thrown) {
      log.warn(
        { job: job.id, error: toFerryError(thrown).message },
        'could not find out how the job ended; trying again later',
      );
      open.add(job.id);
    }
  }
  return { left: open.size > 0 };
};

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
  if (job?.state.kind !== 'failed' || job.request.kind !== 'backup') return;
  const warnings = ['the receiver was lost at the commit; it had committed the backup, as was found out later'];
  const receiver = await options.connect(job.request.receiver, { signal });
  try {
    await retireAllButNewest(job, receiver, options, (warning) => warnings.push(warning));
  } finally {
    receiver.close();
  }
  const event = { kind: 'found-committed', streamBytes: Number(backup.streamBytes), warnings } as const;
  const next = transition(job.state, event, options.now());
  if (next === null) return;
  options.store.saveState(jobId, next);
  options.onEnded({ ...job, state: next });
  options.log.info({ job: jobId, backup: backup.id }, 'the backup of a failed job was committed after all');
};

/** Writes down how a job of an earlier life ended. The receiver is the truth for backups. */
const endOrphan = async (
  job: Job,
  settled: Settled | undefined,
  options: RecoveryOptions,
  signal: AbortSignal,
): Promise<void> => {
  const event =
    job.request.kind === 'backup' ? await backupEnd(job, settled, options, signal) : restoreEnd(job, settled);
  const next = transition(job.state, event, options.now());
  if (next !== null) {
    options.store.saveState(job.id, next);
    options.onEnded({ ...job, state: next });
  }
  options.log.info({ job: job.id, end: event.kind }, 'the agent had been stopped while this job ran');
};

const interrupted = (job: Job): JobEvent =>
  job.state.kind === 'running' && job.state.cancelling
    ? { kind: 'cancelled' }
    : {
        kind: 'failed',
        error: {
          code: 'JOB_INTERRUPTED',
          message: 'the agent was stopped while the job ran; what it had begun was cleaned up',
          hint: 'start it again',
        },
      };

/** A restore whose loose end is struck out already had only its own end left to write down. */
const restoreEnd = (job: Job, settled: Settled | undefined): JobEvent => {
  const swapped = job.state.kind === 'running' && job.state.phase === 'swap';
  const done = settled === undefined ? swapped : settled.kind === 'completed';
  return done ? { kind: 'committed', streamBytes: 0, warnings: [] } : interrupted(job);
};

const backupEnd = async (
  job: Job,
  settled: Settled | undefined,
  options: RecoveryOptions,
  signal: AbortSignal,
): Promise<JobEvent> => {
  if (job.backupId === null) return interrupted(job);
  const receiver = await options.connect(job.request.receiver, { signal });
  try {
    const known = settled?.kind === 'completed' ? settled.backup : null;
    const backup = known ?? (await findBackup(receiver, job.backupId));
    if (backup === null) return interrupted(job);
    const warnings: string[] = [];
    await retireAllButNewest(job, receiver, options, (warning) => warnings.push(warning));
    return { kind: 'committed', streamBytes: Number(backup.streamBytes), warnings };
  } finally {
    receiver.close();
  }
};

/** A backup at the receiver, or null when the receiver says that there is none. */
export const findBackup = async (receiver: ReceiverClient, id: Backup['id']): Promise<Backup | null> => {
  try {
    return await receiver.backup(id, { timeoutMs: settleAnswerMs });
  } catch (thrown) {
    if (toFerryError(thrown).code === 'BACKUP_NOT_FOUND') return null;
    throw thrown;
  }
};

/** The last step of a backup that was committed but not finished. A job that works on the image does the same when it ends. */
const retireAllButNewest = async (
  job: Job,
  receiver: ReceiverClient,
  { ceph, store: jobs, runner }: Pick<RecoveryOptions, 'ceph' | 'store' | 'runner'>,
  warn: (message: string) => void,
): Promise<void> => {
  const spec = orThrow(parseImageSpec(job.image), 'INVALID_IMAGE_SPEC');
  if (runner.worksOn(job.image)) return;
  await runner.exclusively(job.image, async () => {
    const source = await ifExists(lookAtSource(ceph, spec, {}));
    if (source === null) return;
    const { store } = job.request;
    const chains = await chainsOf(source, store, receiver, {});
    const newest = newestCommon(source.view, chains);
    if (newest === null) return;
    const ours = ownSnapshots(source.view, chains, { store, receiver: receiver.name, jobs });
    await retire(
      ceph,
      spec,
      ours.filter((snap) => snap !== newest.snap),
      warn,
    );
  });
};
