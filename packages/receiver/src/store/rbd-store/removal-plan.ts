import { FerryError } from '@rbdferry/core/errors/ferry-error.js';
import type { BackupId } from '@rbdferry/core/model/backup-id.js';
import type { Backup } from '@rbdferry/core/model/chain.js';
import type { KeptBackup } from '@rbdferry/core/wire/kept-backup.js';

/** What keeps parts of a chain's image from being removed. */
export interface Keepers {
  /** Why a snapshot cannot go, by its name. */
  readonly snapshots: ReadonlyMap<string, string>;
  /** Why the image cannot go, though its backups can; null when it can. */
  readonly image: string | null;
}

/** The same, and what people want to keep. */
interface AllKeepers extends Keepers {
  readonly held: ReadonlyMap<BackupId, FerryError>;
}

export interface RemovalPlan {
  /** Oldest first. */
  readonly goes: readonly Backup[];
  readonly kept: readonly KeptBackup[];
}

/**
 * What of a chain can be removed. When the image cannot go the newest backup that could stays, because an image without backups would be
 * listed nowhere and take up its room for ever.
 */
export const planRemoval = (backups: readonly Backup[], keepers: AllKeepers): RemovalPlan => {
  const goes: Backup[] = [];
  const kept: KeptBackup[] = [];
  for (const backup of backups) {
    const why = keepers.snapshots.get(backup.snap);
    const isHeld = keepers.held.get(backup.id);
    if (isHeld !== undefined) kept.push({ id: backup.id, reason: isHeld });
    else if (why === undefined) goes.push(backup);
    else kept.push(keptBackup(backup, why));
  }
  if (kept.length === 0 && keepers.image !== null) {
    const newest = goes.pop();
    if (newest !== undefined) kept.push(keptBackup(newest, keepers.image));
  }
  return { goes, kept };
};

export const keptBackup = ({ id }: Backup, why: string): KeptBackup => ({
  id,
  reason: new FerryError('BACKUP_IN_USE', `${id} stays: ${why}`),
});
