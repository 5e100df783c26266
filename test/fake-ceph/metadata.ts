import { maxMetadataValueBytes, type CephPort } from '@rbdferry/core/ceph/port.js';
import type { Door } from './door.js';
import { named, refusal } from './refusal.js';

type MetadataCalls = Pick<CephPort, 'metadata' | 'setMetadata' | 'removeMetadata'>;

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
