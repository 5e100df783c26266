import { maxMetadataValueBytes, type CephPort } from '@rbdferry/core/ceph/port.js';
import { joinMetadata } from '@rbdferry/core/model/image-meta.js';
import type { Door } from './door.js';
import { named, refusal } from './refusal.js';

type MetadataCalls = Pick<CephPort, 'metadata' | 'metadataEntries' | 'setMetadata' | 'removeMetadata'>;

export const metadataCalls = (door: Door): MetadataCalls => {
  const { cluster } = door;
  return {
    metadata: (spec, options) => {
      const what = `read the metadata of ${named(spec)}`;
      return door.pass(
        { call: 'metadata', what, where: spec },
        options,
        () => new Map(cluster.image(spec, what).metadata),
      );
    },

    metadataEntries: (spec, imageId, options) => {
      const what = `read the header of ${named(spec)}`;
      return door.pass({ call: 'metadataEntries', what, where: spec }, options, () => {
        const { id, metadata } = cluster.image(spec, what);
        if (id !== imageId) throw refusal('IMAGE_NOT_FOUND', what, `there is no header of ${imageId}`);
        return joinMetadata({ metadata: Object.fromEntries(metadata), binaryMetadata: [] });
      });
    },

    setMetadata: (spec, key, value, options) => {
      const what = `set metadata "${key}" of ${named(spec)}`;
      return door.pass({ call: 'setMetadata', what, where: spec }, options, () => {
        const bytes = Buffer.byteLength(value);
        if (bytes === 0 || bytes > maxMetadataValueBytes)
          throw refusal('CEPH_FAILED', what, `rbd takes 1 to ${maxMetadataValueBytes} bytes, not ${bytes}`);
        const image = cluster.image(spec, what);
        door.mayWrite(what, spec.pool);
        cluster.noteChange(image, what);
        image.metadata.set(key, value);
      });
    },

    removeMetadata: (spec, key, options) => {
      const what = `remove metadata "${key}" of ${named(spec)}`;
      return door.pass({ call: 'removeMetadata', what, where: spec }, options, () => {
        const image = cluster.image(spec, what);
        door.mayWrite(what, spec.pool);
        cluster.noteChange(image, what);
        return image.metadata.delete(key);
      });
    },
  };
};
