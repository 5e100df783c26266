import type { BackupId, ChainName } from '@rbdferry/core/model/backup-id.js';
import type { LooseEndKind } from '../jobs/loose-end-kind.js';

/** Backups that were asked to go, and the snapshots on the source cluster that serve nobody once they are gone. */
export interface DeletionEnd {
  readonly kind: 'deletion';
  readonly receiver: string;
  readonly store: string;
  /** The chain that was asked to go as a whole; null when one backup was. */
  readonly chain: ChainName | null;
  readonly ids: readonly BackupId[];
  readonly snapshots: readonly SourceSnapshot[];
}

/** A snapshot that a backup was made of, by the image's id: its name may have changed since. */
export interface SourceSnapshot {
  readonly backupId: BackupId;
  readonly pool: string;
  readonly namespace: string;
  readonly imageId: string;
  readonly snap: string;
}

/** @param finish ends a deletion on both sides; throws when that cannot be done now */
export const deletionEnds = (finish: (end: DeletionEnd) => Promise<void>): LooseEndKind<DeletionEnd> => ({
  async settle(end) {
    await finish(end);
    return { kind: 'completed', backup: null };
  },
});
