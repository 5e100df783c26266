import type { CephPort } from '@rbdferry/core/ceph/port.js';
import type { Logger } from '@rbdferry/core/log/logger.js';
import type { BackupId } from '@rbdferry/core/model/backup-id.js';
import type { BackupKind } from '@rbdferry/core/model/chain.js';
import type { JobPhase } from '@rbdferry/core/model/job-state.js';
import type { TransferEnd } from '@rbdferry/core/model/stages.js';
import type { TransferStages } from '@rbdferry/core/transfer/transfer-stages.js';
import type { AgentConfig } from '../config.js';
import type { JobLimits } from '../limits.js';
import type { ReceiverClient } from '../receiver-client/receiver-client.js';
import type { LooseEndHandle } from './loose-ends.js';
import type { ChildJobs } from './child-jobs.js';
import type { LooseEnd } from './job.js';
import type { JobStore } from './job-store.js';
import type { Progress } from './progress.js';

/** What a recipe has to work with. */
export interface JobContext {
  readonly ceph: CephPort;
  readonly receiver: ReceiverClient;
  readonly config: AgentConfig;
  readonly log: Logger;
  /** Aborts when the job is cancelled or the agent stops. */
  readonly signal: AbortSignal;
  readonly progress: Progress;
  readonly limits: JobLimits;
  /** Milliseconds since 1970. */
  readonly now: () => number;

  phase(phase: JobPhase): void;
  /** The transfer begins, of which we are this end: what it waits for is counted from now on until the job has ended. */
  transfer(end: TransferEnd): TransferStages;
  /** Waits until no other job works on the image, and keeps others off it until this one ends. */
  hold(image: string): Promise<void>;
  /** Something the user should know though the job succeeds. */
  warn(message: string): void;
  /** What the job makes, as soon as it is known. */
  facts(facts: { backupId: BackupId; backupKind: BackupKind; image?: string }): void;
  /** What earlier jobs have made. */
  readonly jobs: Pick<JobStore, 'madeSnapshots'>;
  /** What the batch that it belongs to has begun for it; null when it begins by itself. */
  readonly begun: unknown;
  /** The jobs that belong to it, when it is a batch. */
  readonly children: ChildJobs;
  /** Writes down what is about to be made on the source cluster. */
  looseEnd(end: LooseEnd): LooseEndHandle;
}

/** What a recipe answers: bytes of the diff stream it moved. */
export interface JobOutcome {
  readonly streamBytes: bigint;
}
