import { FerryError } from '@rbdferry/core/errors/ferry-error.js';
import { orThrow } from '@rbdferry/core/errors/parsed.js';
import { BackupMode as WireMode, JobKind, type StartBackupRequest } from '@rbdferry/core/gen/rbdferry/v1/control.js';
import { formatImageSpec, parseImageSpec } from '@rbdferry/core/model/image-spec.js';
import type { BackupMode } from '@rbdferry/core/model/planner.js';
import type { Place } from '../choose-receiver.js';
import { limitsOf } from '../jobs/request-limits.js';
import type { BackupJobRequest } from './backup-jobs.js';

export const backupKind = JobKind.BACKUP;

/** @param choose tells which receiver and store are meant @throws INVALID_IMAGE_SPEC, INVALID_REQUEST, what `choose` throws */
export const backupRequestOf = (request: StartBackupRequest, choose: (named: Place) => Place): BackupJobRequest => {
  const image = formatImageSpec(orThrow(parseImageSpec(request.image), 'INVALID_IMAGE_SPEC'));
  const { receiver, store } = choose(request);
  // The order of the keys belongs to what is kept: a request that came twice is known by its text.
  return { kind: 'backup', image, mode: modeOf(request.mode), receiver, store, ...limitsOf(request) };
};

/** @throws INVALID_REQUEST */
export const modeOf = (mode: WireMode): BackupMode => {
  switch (mode) {
    case WireMode.FULL:
      return 'full';
    case WireMode.INCREMENTAL:
      return 'incr';
    case WireMode.AUTO:
    case WireMode.UNSPECIFIED:
      return 'auto';
    default:
      throw new FerryError('INVALID_REQUEST', `there is no backup mode ${String(mode)}`);
  }
};
