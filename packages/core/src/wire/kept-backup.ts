import type { FerryError } from '../errors/ferry-error.js';
import type * as wire from '../gen/rbdferry/v1/model.js';
import type { BackupId } from '../model/backup-id.js';
import { errorOfDetail } from '../rpc/error-wire.js';
import { idFromWire, requireField } from './convert.js';

/** A backup that was asked to go and stays. */
export interface KeptBackup {
  readonly id: BackupId;
  readonly reason: FerryError;
}

export const keptToWire = ({ id, reason: { code, message, hint } }: KeptBackup): wire.KeptBackup => ({
  backupId: id,
  reason: { code, message, hint },
});

export const keptFromWire = ({ backupId, reason }: wire.KeptBackup): KeptBackup => ({
  id: requireField(idFromWire(backupId) ?? undefined, 'backup id'),
  reason: errorOfDetail(requireField(reason, 'reason')),
});
