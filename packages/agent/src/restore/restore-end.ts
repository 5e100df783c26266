import { ifExists } from '@rbdferry/core/ceph/if-exists.js';
import type { CephPort } from '@rbdferry/core/ceph/port.js';
import { orThrow } from '@rbdferry/core/errors/parsed.js';
import { parseImageSpec, type ImageSpec } from '@rbdferry/core/model/image-spec.js';
import type { LooseEndKind } from '../jobs/loose-end-kind.js';

/** A temporary image of a restore. */
export interface RestoreEnd {
  readonly kind: 'restore';
  readonly temporary: string;
  readonly target: string;
  /** From `swap` on, the temporary image is whole and takes the target's name. */
  readonly stage: 'import' | 'swap';
  /** Image id of the temporary image, once known. */
  readonly imageId: string | null;
}

/** A swap that was begun is completed when nothing has the target's name; else the temporary image goes. */
export const restoreEnds = (ceph: CephPort): LooseEndKind<RestoreEnd> => ({
  async settle(end) {
    const temporary = specOf(end.temporary);
    const target = specOf(end.target);
    if (end.stage === 'swap' && end.imageId !== null) {
      const there = await ifExists(ceph.info(target));
      if (there?.id === end.imageId) return { kind: 'completed', backup: null };
      // The old image is in the trash already, or was never there: the whole new one takes the name.
      if (there === null && (await ifExists(ceph.info(temporary)))?.id === end.imageId) {
        await ceph.rename(temporary, target);
        return { kind: 'completed', backup: null };
      }
    }
    await removeWithSnapshots(ceph, temporary);
    return { kind: 'undone' };
  },
});

/** Removes an image of ours together with its snapshots; fine when it is not there. */
const removeWithSnapshots = async (ceph: CephPort, image: ImageSpec): Promise<void> => {
  const snapshots = await ifExists(ceph.snapshots(image));
  if (snapshots === null) return;
  for (const snapshot of snapshots) await ceph.removeSnapshot(image, snapshot.name);
  await ceph.remove(image);
};

const specOf = (text: string): ImageSpec => orThrow(parseImageSpec(text), 'INVALID_IMAGE_SPEC');
