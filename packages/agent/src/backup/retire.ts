import type { CephPort } from '@rbdferry/core/ceph/port.js';
import { toFerryError } from '@rbdferry/core/errors/ferry-error.js';
import type { SnapName } from '@rbdferry/core/model/backup-id.js';
import { formatImageSpec, type ImageSpec } from '@rbdferry/core/model/image-spec.js';

/**
 * Removes the source snapshots of backups that a newer committed one has made needless. Failing here is not the backup's failure.
 *
 * @param earlier snapshots that the source was seen to have; of an image that goes on being backed up, never that of the newest backup
 * @param warn told of each snapshot that stays
 */
export const retire = async (
  ceph: CephPort,
  image: ImageSpec,
  earlier: readonly SnapName[],
  warn: (message: string) => void,
): Promise<void> => {
  for (const snap of earlier) {
    try {
      await ceph.removeSnapshot(image, snap);
    } catch (thrown) {
      warn(`the snapshot ${snap} of ${formatImageSpec(image)} could not be removed: ${toFerryError(thrown).message}`);
    }
  }
};
