import { orThrow } from '@rbdferry/core/errors/parsed.js';
import type { BackupId } from '@rbdferry/core/model/backup-id.js';
import { parseImageSpec } from '@rbdferry/core/model/image-spec.js';
import { interrupted } from '../jobs/interrupted.js';
import type { JobKind } from '../jobs/job-kind.js';
import type { JobRequest } from '../jobs/job.js';
import { runRestore } from './restore.js';

export interface RestoreJobRequest extends JobRequest {
  readonly kind: 'restore';
  readonly backupId: BackupId;
  /** Null for the name the image had. */
  readonly to: string | null;
  readonly replace: boolean;
  /** What the backup was looked up by, when that was not its whole id. */
  readonly asked?: string;
}

/** Restores: somebody waits for each, so they come first. */
export const restoreJobs: JobKind<RestoreJobRequest> = {
  priority: 0,
  transfers: true,
  reads: true,
  image: ({ to }) => to ?? '',
  backupId: ({ backupId }) => backupId,
  transferKind: () => 'restore',

  run({ backupId, to, replace }, context) {
    const image = to === null ? null : orThrow(parseImageSpec(to), 'INVALID_IMAGE_SPEC');
    return runRestore({ backupId, to: image, replace }, context);
  },

  /** One whose loose end is struck out already had only its own end left to write down. */
  recover(job, settled) {
    const swapped = job.state.kind === 'running' && job.state.phase === 'swap';
    const done = settled === undefined ? swapped : settled.kind === 'completed';
    return Promise.resolve(done ? { kind: 'committed', streamBytes: 0, warnings: [] } : interrupted(job));
  },

  commitAfterAll: () => Promise.resolve([]),
};
