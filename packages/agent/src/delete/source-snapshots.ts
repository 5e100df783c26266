import { ifExists } from '@rbdferry/core/ceph/if-exists.js';
import type { CephPort } from '@rbdferry/core/ceph/port.js';
import type { BackupId } from '@rbdferry/core/model/backup-id.js';
import type { Backup, Chain } from '@rbdferry/core/model/chain.js';
import { formatImageRef, formatImageSpec } from '@rbdferry/core/model/image-spec.js';
import { isCommon, newestCommon } from '@rbdferry/core/model/planner.js';
import { presentOn } from '../source-looks.js';
import type { SourceSnapshot } from './deletion-end.js';
import { backupsByStore, keyOf, type SourcesSeen } from './look-at-sources.js';

/**
 * The source snapshots of backups: those that a look has shown, and where no look was possible or the name is another image's by now,
 * the one that the backup itself recorded, which may be gone already.
 */
export const snapshotsOf = (
  backups: readonly Backup[],
  store: string,
  { byId, elsewhere }: SourcesSeen,
): SourceSnapshot[] =>
  backups.flatMap((backup) => {
    if (backup.source === null) return [];
    const { image, imageId } = backup.source.identity;
    const ofStore = (id: string) => (byId.get(id) ?? []).filter((each) => each.store === store);
    const sameImage = ofStore(imageId);
    const seen = [...new Set([...sameImage, ...ofStore(backup.id)])].flatMap(({ spec, view }) =>
      isCommon(backup, view) ? [{ ...spec, imageId: view.identity.imageId }] : [],
    );
    const recorded = { pool: image.pool, namespace: image.namespace, imageId };
    const mayBeElsewhere = sameImage.length === 0 && (elsewhere.get(keyOf(recorded))?.has(backup.snap) ?? true);
    const places = mayBeElsewhere ? [...seen, recorded] : seen;
    return places.map(({ pool, namespace, imageId: id }) => ({
      backupId: backup.id,
      pool,
      namespace,
      imageId: id,
      snap: backup.snap,
    }));
  });

/** Removes them, by image id: an image that is renamed or in the trash meanwhile is found. Those that are not there are fine. */
export const removeSourceSnapshots = async (
  ceph: Pick<CephPort, 'removeSnapshot'>,
  snapshots: readonly SourceSnapshot[],
): Promise<void> => {
  for (const { pool, namespace, imageId, snap } of snapshots) {
    await ifExists(ceph.removeSnapshot({ pool, namespace, imageId }, snap));
  }
};

/** What the deletion means for the next backup of each image that had a snapshot of a backup that is gone. */
export const nextBackups = (chains: readonly Chain[], gone: ReadonlySet<BackupId>, { seen }: SourcesSeen): string[] => {
  const backupsIn = backupsByStore(chains);
  const chainOf = new Map(chains.flatMap((chain) => chain.backups.map((backup) => [backup, chain])));
  return seen.flatMap(({ store, spec, view }) => {
    const present = view === null ? [] : presentOn(view, backupsIn(store));
    if (view === null || !present.some(({ id }) => gone.has(id))) return [];
    const left = newestCommon(
      view,
      [...new Set(present.flatMap((backup) => chainOf.get(backup) ?? []))].map((chain) => ({
        ...chain,
        backups: chain.backups.filter(({ id }) => !gone.has(id)),
      })),
    );
    const name = formatImageSpec(spec);
    return left === null
      ? [`the next backup of ${name} to store ${store} will be a full one`]
      : [`the next increment of ${name} will build on ${left.id}`];
  });
};

/** For messages. */
export const describeSnapshot = ({ snap, ...image }: SourceSnapshot): string => `${formatImageRef(image)}@${snap}`;
