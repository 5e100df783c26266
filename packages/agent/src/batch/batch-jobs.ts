import type { BackupMode } from '@rbdferry/core/model/planner.js';
import { interrupted } from '../jobs/interrupted.js';
import type { JobKind } from '../jobs/job-kind.js';
import type { JobRequest } from '../jobs/job.js';
import { runBatch } from './run-batch.js';
import type { ImageSelection } from './selection.js';

export interface BatchJobRequest extends JobRequest {
  readonly kind: 'batch';
  readonly selection: ImageSelection;
  readonly mode: BackupMode;
}

/** Backups of many images, each a job of its own that belongs to this one. */
export const batchJobs: JobKind<BatchJobRequest> = {
  priority: 1,
  transfers: false,
  hasChildren: true,
  reads: false,
  image: () => '',
  backupId: () => null,
  transferKind: () => 'full',

  run(request, context) {
    return runBatch(request, context);
  },

  // It goes on with what is left, see interrupted.ts.
  recover: (job) => Promise.resolve(interrupted(job)),

  commitAfterAll: () => Promise.resolve([]),
};
