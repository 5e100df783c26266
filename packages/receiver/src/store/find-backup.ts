import { FerryError } from '@rbdferry/core/errors/ferry-error.js';
import { formatBackupId, type BackupIdParts } from '@rbdferry/core/model/backup-id.js';
import type { Backup } from '@rbdferry/core/model/chain.js';
import type { FoundChain } from './driver.js';

export const hasBackup = ({ chain }: FoundChain, { snap }: BackupIdParts): boolean =>
  chain.backups.some((backup) => backup.snap === snap);

/** @throws BACKUP_NOT_FOUND */
export const findBackup = ({ chain }: FoundChain, id: BackupIdParts): Backup => {
  const found = chain.backups.find(({ snap }) => snap === id.snap);
  if (found === undefined) throw noBackup(id);
  return found;
};

export const noBackup = (id: BackupIdParts): FerryError =>
  new FerryError('BACKUP_NOT_FOUND', `there is no backup ${formatBackupId(id)}`);
