import type { CephPort } from '@rbdferry/core/ceph/port.js';
import { FerryError, throwIfAborted, toFerryError } from '@rbdferry/core/errors/ferry-error.js';
import { formatImageSpec, type ImageSpec } from '@rbdferry/core/model/image-spec.js';

const absent: ReadonlySet<string> = new Set(['IMAGE_NOT_FOUND', 'POOL_NOT_FOUND', 'NAMESPACE_NOT_FOUND']);

/**
 * For an image that the store has no backup of: whoever asked for it should know whether that is so or the name was mistyped.
 *
 * @throws IMAGE_NOT_FOUND unless the source cluster has such an image
 */
export const requireOnSource = async (
  image: ImageSpec,
  where: { readonly ceph: Pick<CephPort, 'info'>; readonly store: string; readonly signal: AbortSignal },
): Promise<void> => {
  try {
    await where.ceph.info(image, { signal: where.signal });
  } catch (thrown) {
    throwIfAborted(where.signal);
    const error = toFerryError(thrown);
    const name = JSON.stringify(formatImageSpec(image));
    const nowhere = `there is no backup of ${name} in store ${JSON.stringify(where.store)}`;
    throw new FerryError(
      'IMAGE_NOT_FOUND',
      absent.has(error.code)
        ? `${nowhere}, and no such image on the source cluster`
        : `${nowhere}, and the source cluster could not be asked for it: ${error.message}`,
      { hint: 'check the name; `rbdferry list` shows the images that have backups', cause: thrown },
    );
  }
};
