import type { ImageInfo, ImageLayout } from '@rbdferry/core/ceph/port.js';
import { FerryError, toFerryError } from '@rbdferry/core/errors/ferry-error.js';
import type { Backup } from '@rbdferry/core/model/chain.js';
import { formatImageSpec, type ImageSpec } from '@rbdferry/core/model/image-spec.js';
import type { JobContext } from '../jobs/job-context.js';

type Deps = Pick<JobContext, 'ceph' | 'signal'>;

/** Where the backup goes: the name asked for, or the one the image had. @throws INVALID_REQUEST when neither is known */
export const targetOf = (backup: Backup, to: ImageSpec | null): ImageSpec => {
  if (to !== null) return to;
  if (backup.source !== null) return backup.source.identity.image;
  throw new FerryError(
    'INVALID_REQUEST',
    `${backup.id} was made by the older tool, which did not record the image's pool`,
    {
      hint: 'name the image to restore to with --to POOL/IMAGE',
    },
  );
};

/** @throws IMAGE_EXISTS, IMAGE_IN_USE, IMAGE_PROTECTED, POOL_NOT_FOUND, NAMESPACE_NOT_FOUND */
export const checkTarget = async (target: ImageSpec, replace: boolean, { ceph, signal }: Deps): Promise<void> => {
  // Either is also the check that the pool is there.
  if (replace) await refuseToReplace(target, { ceph, signal });
  // A name that half a removal has left is taken as well, and no look at the image would find it.
  else if ((await ceph.list(target, { signal })).includes(target.image)) {
    throw new FerryError('IMAGE_EXISTS', `the image ${formatImageSpec(target)} exists`);
  }
};

/** There need not be such an image. */
const refuseToReplace = async (target: ImageSpec, { ceph, signal }: Deps): Promise<void> => {
  const [info, watchers] = await Promise.all([
    unlessMissing(ceph.info(target, { signal })),
    unlessMissing(ceph.watchers(target, { signal })),
  ]);
  if (info !== null) refuseProtected(target, info);
  if (watchers !== null && watchers.length > 0) {
    throw new FerryError('IMAGE_IN_USE', `the image ${formatImageSpec(target)} is in use by ${watchers.join(', ')}`);
  }
};

/** Null when there is no such image in a pool that is there. */
const unlessMissing = async <T>(look: Promise<T>): Promise<T | null> => {
  try {
    return await look;
  } catch (thrown) {
    if (toFerryError(thrown).code === 'IMAGE_NOT_FOUND') return null;
    throw thrown;
  }
};

/** @throws IMAGE_PROTECTED */
export const refuseProtected = (image: ImageSpec, info: ImageInfo): void => {
  const kept = whyKept(info);
  if (kept === null) return;
  throw new FerryError('IMAGE_PROTECTED', `the image ${formatImageSpec(image)} cannot be replaced: ${kept}`);
};

/**
 * Why an image may not go to the trash, or null. Some releases refuse it only when the new image is whole; others take it out of its
 * group or mirror without a word.
 */
const whyKept = ({ format, group, mirroring, features }: ImageInfo): string | null => {
  if (group !== null) return `it is a member of the group ${JSON.stringify(group)}`;
  if (mirroring !== null) return 'it is mirrored';
  if (features.includes('migrating')) return 'it is being migrated';
  return format === 1 ? 'it is of format 1, for which there is no trash' : null;
};

/** The layout the image had; a backup of the older tool gets that of Ceph's own defaults. */
export const layoutOf = ({ source, sizeBytes }: Backup): ImageLayout =>
  source?.layout ?? { ...defaultLayout, sizeBytes };

/** {@link layoutOf}, on a cluster where it can be had. @throws CANNOT_RECREATE */
export const layoutFor = async (temporary: ImageSpec, backup: Backup, { ceph, signal }: Deps): Promise<ImageLayout> => {
  const layout = layoutOf(backup);
  const { dataPool } = layout;
  if (dataPool === null) return layout;
  try {
    await ceph.list({ pool: dataPool, namespace: '' }, { signal });
    return layout;
  } catch (thrown) {
    const error = toFerryError(thrown);
    if (error.code !== 'POOL_NOT_FOUND' && error.code !== 'CEPH_PERMISSION') throw error;
    throw new FerryError(
      'CANNOT_RECREATE',
      `${formatImageSpec(temporary)} needs the data pool ${JSON.stringify(dataPool)}: ${error.message}`,
      {
        hint: 'create the pool and give the CephX user of the agent `profile rbd` on it',
        cause: error,
      },
    );
  }
};

const defaultLayout = {
  objectSizeBytes: 4 * 1024 * 1024,
  stripeUnitBytes: 4 * 1024 * 1024,
  stripeCount: 1,
  features: ['layering', 'exclusive-lock', 'object-map', 'fast-diff', 'deep-flatten'],
  dataPool: null,
} as const;

/** Beside the target, so that a rename is all the swap needs. */
export const temporaryName = (target: ImageSpec, backup: Backup, nowMs: number): ImageSpec => ({
  ...target,
  image: `${target.image}.rbdferry-restore.${backup.snap.slice(0, 10)}.${nowMs.toString(36)}`,
});
