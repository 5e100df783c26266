import type { BackupMode } from '@rbdferry/core/model/planner.js';
import { interrupted } from '../jobs/interrupted.js';
import type { JobKind } from '../jobs/job-kind.js';
import type { JobRequest } from '../jobs/job.js';
import { backUpAll } from './back-up-all.js';
import { restoreAll } from './restore-all.js';
import type { ImageSelection } from './selection.js';

export interface BackupBatch extends JobRequest {
  readonly kind: 'batch';
  readonly of: 'backup';
  readonly selection: ImageSelection;
  readonly mode: BackupMode;
}

export interface RestoreBatch extends JobRequest {
  readonly kind: 'batch';
  readonly of: 'restore';
  /** POOL or POOL/NAMESPACE that the images were in. */
  readonly pool: string;
  /** Where they come back. */
  readonly toPool: string;
  /** The moment that they are to be as they were at, in milliseconds since 1970; null for the newest backup of each. */
  readonly atMs: number | null;
  readonly replace: boolean;
  readonly match: readonly string[];
  readonly exclude: readonly string[];
}

export type BatchJobRequest = BackupBatch | RestoreBatch;

/** Backups or restores of many images, each a job of its own that belongs to this one. */
export const batchJobs: JobKind<BatchJobRequest> = {
  priority: 1,
  transfers: false,
  hasChildren: true,
  reads: false,
  image: () => '',
  backupId: () => null,
  transferKind: () => 'full',

  run(request, context) {
    return request.of === 'backup' ? backUpAll(request, context) : restoreAll(request, context);
  },

  // It goes on with what is left, see interrupted.ts.
  recover: (job) => Promise.resolve(interrupted(job)),

  commitAfterAll: () => Promise.resolve([]),
};
