import type { BackupId } from '@rbdferry/core/model/backup-id.js';
import { newestOf } from '@rbdferry/core/model/backup-order.js';
import type { Backup, Chain } from '@rbdferry/core/model/chain.js';
import { formatImageSpec } from '@rbdferry/core/model/image-spec.js';
import type { ImageBackups } from '@rbdferry/core/model/image-backups.js';
import { presentOn } from '../source-looks.js';
import { backupsByStore, keyOf, type SourcesSeen } from './look-at-sources.js';

/** The backups of an image that next increments build on, its own or those of an image that a restore made of it; null when that is not known. */
export type BasesOf = (image: ImageBackups<Chain>) => ReadonlySet<BackupId> | null;

/**
 * Which backups the next increments will build on, as far as a look at the source can say: of each image there the newest one whose snapshot it
 * still has. A copy under a name that was never backed up is not among what was looked at.
 *
 * @param all the chains that hold backups of the images that were looked at
 */
export const basesOf = (sources: SourcesSeen, all: readonly Chain[]): BasesOf => {
  const bases = new Set<BackupId>();
  const backupsIn = backupsByStore(all);
  const addNewest = (isPresent: (backup: Backup) => boolean) => {
    const left = all.map((chain) => ({ ...chain, backups: chain.backups.filter(isPresent) }));
    const newest = newestOf(left)?.backup;
    if (newest !== undefined) bases.add(newest.id);
  };
  for (const { store, view } of sources.seen) {
    if (view === null) continue;
    const present = new Set(presentOn(view, backupsIn(store)));
    if (present.size === 1) for (const { id } of present) bases.add(id);
    else if (present.size > 1) addNewest((backup) => present.has(backup));
  }
  for (const [key, names] of sources.elsewhere) {
    if (names.size > 0) addNewest((backup) => imageKeyOf(backup) === key && names.has(backup.snap));
  }
  const known = new Set(sources.seen.map(({ spec }) => formatImageSpec(spec)));
  const seenIds = new Set(sources.seen.map(({ view }) => view?.identity.imageId));
  const isKnown = (backup: Backup): boolean => {
    const key = imageKeyOf(backup);
    return seenIds.has(backup.source?.identity.imageId) || key === null || sources.elsewhere.has(key);
  };
  return ({ source, chains }) => {
    const isSeen = source === null || known.has(formatImageSpec(source.image));
    return isSeen && chains.every(({ backups }) => backups.every(isKnown)) ? bases : null;
  };
};

const imageKeyOf = ({ source }: Backup): string | null => {
  if (source === null) return null;
  const { image, imageId } = source.identity;
  return keyOf({ pool: image.pool, namespace: image.namespace, imageId });
};
