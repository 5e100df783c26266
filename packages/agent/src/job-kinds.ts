import type { CephPort } from '@rbdferry/core/ceph/port.js';
import type { BackupId } from '@rbdferry/core/model/backup-id.js';
import type { Backup } from '@rbdferry/core/model/chain.js';
import { batchJobs, type BatchJobRequest } from './batch/batch-jobs.js';
import { backupJobs, type BackupJobRequest } from './backup/backup-jobs.js';
import { snapshotEnds, type SnapshotEnd } from './backup/snapshot-end.js';
import { deletionEnds, type DeletionEnd } from './delete/deletion-end.js';
import type { JobKind } from './jobs/job-kind.js';
import type { LooseEndKind } from './jobs/loose-end-kind.js';
import { restoreEnds, type RestoreEnd } from './restore/restore-end.js';
import { restoreJobs, type RestoreJobRequest } from './restore/restore-jobs.js';

/** What each kind of job is asked for. A kind that stands here and not in the tables below, or in those of service/, does not compile. */
interface JobRequests {
  readonly backup: BackupJobRequest;
  readonly restore: RestoreJobRequest;
  readonly batch: BatchJobRequest;
}

interface LooseEnds {
  readonly snapshot: SnapshotEnd;
  readonly restore: RestoreEnd;
  readonly deletion: DeletionEnd;
}

export type JobKindName = keyof JobRequests;

export const jobKinds: { readonly [Name in JobKindName]: JobKind<JobRequests[Name]> } = {
  backup: backupJobs,
  restore: restoreJobs,
  batch: batchJobs,
};

export const isJobKind = (name: string): name is JobKindName => Object.hasOwn(jobKinds, name);

/** Names of the kinds, for labels that must be there before the first job. */
export const jobKindNames = Object.keys(jobKinds).filter(isJobKind);

export interface LooseEndDeps {
  readonly ceph: CephPort;
  /** The backup at a receiver; null when the receiver says that there is none. @throws when the receiver cannot say */
  readonly findBackup: (receiver: string, id: BackupId) => Promise<Backup | null>;
  /** Ends a deletion on both sides. @throws when that cannot be done now */
  readonly finishDeletion: (end: DeletionEnd) => Promise<void>;
  /** Milliseconds since 1970. */
  readonly now: () => number;
}

export const looseEndKinds = (
  deps: LooseEndDeps,
): { readonly [Name in keyof LooseEnds]: LooseEndKind<LooseEnds[Name]> } => ({
  snapshot: snapshotEnds(deps),
  restore: restoreEnds(deps.ceph),
  deletion: deletionEnds(deps.finishDeletion),
});
