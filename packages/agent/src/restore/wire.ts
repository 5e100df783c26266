import { orThrow } from '@rbdferry/core/errors/parsed.js';
import { JobKind, type StartRestoreRequest } from '@rbdferry/core/gen/rbdferry/v1/control.js';
import { parseBackupId, type BackupId } from '@rbdferry/core/model/backup-id.js';
import { formatImageSpec, parseImageSpec } from '@rbdferry/core/model/image-spec.js';
import type { Place } from '../choose-receiver.js';
import { limitsOf } from '../jobs/request-limits.js';
import type { RestoreJobRequest } from './restore-jobs.js';

export const restoreKind = JobKind.RESTORE;

/** @param choose tells which receiver is meant @throws INVALID_BACKUP_ID, INVALID_IMAGE_SPEC, INVALID_REQUEST, what `choose` throws */
export const restoreRequestOf = (request: StartRestoreRequest, choose: (named: Place) => Place): RestoreJobRequest => {
  const { store } = orThrow(parseBackupId(request.backupId), 'INVALID_BACKUP_ID');
  const { receiver } = choose({ receiver: request.receiver, store });
  const to = request.to === '' ? null : formatImageSpec(orThrow(parseImageSpec(request.to), 'INVALID_IMAGE_SPEC'));
  const backupId = request.backupId as BackupId;
  // The order of the keys belongs to what is kept: a request that came twice is known by its text.
  return { kind: 'restore', backupId, receiver, store, to, replace: request.replace, ...limitsOf(request) };
};
