import type { CephPort } from '@rbdferry/core/ceph/port.js';
import type { BackupId } from '@rbdferry/core/model/backup-id.js';
import type { Backup } from '@rbdferry/core/model/chain.js';
import type { JobEvent } from '@rbdferry/core/model/job-state.js';
import type { MeasuredTransfer } from '@rbdferry/core/metrics/transfer-metrics.js';
import type { ReceiverClient } from '../receiver-client/receiver-client.js';
import type { JobContext, JobOutcome } from './job-context.js';
import type { JobStore } from './job-store.js';
import type { Job, JobRequest } from './job.js';
import type { Settled } from './loose-end-kind.js';

/** What queue, runner and recovery must know of one kind of job. A kind is a folder beside this one; job-kinds.ts is the table of them. */
export interface JobKind<Request extends JobRequest> {
  /** Of those that wait, the lowest start first. */
  readonly priority: number;
  /** Whether a transfer belongs to it, which takes one of the slots (`max_transfers`) from the start until it is committed or verified. */
  readonly transfers: boolean;
  /** Whether other jobs belong to it; left out when none do. Such a job and its children go on when the agent was stopped meanwhile. */
  readonly hasChildren?: true;
  /** Whether it reads much from the receiver, which takes a wide window. */
  readonly reads: boolean;
  /** The image that it works on, as far as the request says, and that no other job works on meanwhile; '' when it says none. */
  image(request: Request): string;
  /** The backup that the request names; null for none. */
  backupId(request: Request): BackupId | null;
  /** What metrics call its transfer. */
  transferKind(job: Job<Request>): MeasuredTransfer['kind'];
  run(request: Request, context: JobContext): Promise<JobOutcome>;
  /**
   * How a job ended that an earlier life of the agent was running, with what is left to do for that end done.
   *
   * @param settled how its loose end came out; undefined when it had none any more
   * @throws when it cannot be found out now
   */
  recover(job: Job<Request>, settled: Settled | undefined, deps: RecoverDeps): Promise<JobEvent>;
  /**
   * A job that had failed, or an attempt of it, turned out to have committed this backup: does what was left to do. Answers warnings.
   *
   * @throws when that cannot be done now
   */
  commitAfterAll(job: Job<Request>, backup: Backup, deps: RecoverDeps): Promise<string[]>;
}

/** What recovery has to work with. */
export interface RecoverDeps {
  readonly ceph: CephPort;
  readonly jobs: Pick<JobStore, 'madeSnapshots'>;
  readonly connect: (receiver: string) => Promise<ReceiverClient>;
  /** Runs a step while no job works on the image, or not at all when one does: that one does the same when it ends. */
  readonly unlessBusy: (image: string, step: () => Promise<void>) => Promise<void>;
}

/**
 * The kinds by name. What stands in a job's record was checked when it was queued, so each kind gets what it wrote itself.
 * Undefined for one that only another release knows.
 */
export type JobKinds = Readonly<Record<string, JobKind<JobRequest>>>;
