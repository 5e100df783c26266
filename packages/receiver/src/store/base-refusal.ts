import { FerryError } from '@rbdferry/core/errors/ferry-error.js';
import type { BackupIdParts } from '@rbdferry/core/model/backup-id.js';
import type { FoundChain } from './driver.js';
import { noBackup } from './find-backup.js';
import type { PushIntent } from './port.js';

/** Why an increment cannot be built on a backup of this chain; null when it can. */
export const baseRefusal = (
  { chain, isNewer, takenNames }: FoundChain,
  { base, client, snap }: PushIntent & { readonly base: BackupIdParts },
): FerryError | null => {
  const found = chain.backups.find((backup) => backup.snap === base.snap);
  if (found === undefined) return noBackup(base);
  if (chain.legacy) {
    return new FerryError(
      'NO_COMMON_SNAPSHOT',
      `${chain.name} was made by the older tool; increments never build on it`,
    );
  }
  // The same words as for a backup that does not exist: a client learns nothing of others.
  if (found.client !== client) return noBackup(base);
  if (isNewer) {
    return new FerryError('PROTOCOL_MISMATCH', `${chain.name} was written by a newer release of rbdferry`, {
      hint: 'update the receiver, or make a full backup',
    });
  }
  if (takenNames.has(snap)) return new FerryError('SNAPSHOT_EXISTS', `${chain.name} has a snapshot ${snap} already`);
  return null;
};
