import type { CephPort } from '@rbdferry/core/ceph/port.js';
import { formatPoolSpec } from '@rbdferry/core/model/image-spec.js';
import type { Door } from './door.js';
import { mustBeFree } from './images.js';
import { named, refusal } from './refusal.js';

type TrashCalls = Pick<CephPort, 'prepareRemovals' | 'moveToTrash' | 'trash' | 'restoreFromTrash'>;

export const trashCalls = (door: Door): TrashCalls => {
  const { cluster } = door;
  return {
    prepareRemovals: (where, options) => {
      const what = `make the trash of "${formatPoolSpec(where)}"`;
      return door.pass({ call: 'prepareRemovals', what, where }, options, (namespace) => {
        door.mayWrite(what, where.pool);
        namespace.hasTrash = true;
      });
    },

    moveToTrash: (spec, expiresAt, options) => {
      const what = `move ${named(spec)} to the trash`;
      return door.pass({ call: 'moveToTrash', what, where: spec }, options, (namespace) => {
        const image = cluster.image(spec, what);
        if (image.watchers.size > 0)
          throw refusal('IMAGE_IN_USE', what, `it is in use by ${[...image.watchers].join(', ')}`);
        door.mayWrite(what, spec.pool);
        namespace.hasTrash = true;
        namespace.images.delete(spec.image);
        namespace.trash.set(image.id, image);
        image.trashedUntilMs = Math.ceil(expiresAt.getTime() / 1000) * 1000;
      });
    },

    trash: (where, options) => {
      const what = `list the trash of "${formatPoolSpec(where)}"`;
      return door.pass({ call: 'trash', what, where }, options, ({ trash }) =>
        [...trash.values()].map(({ id, name }) => ({ id, name })),
      );
    },

    restoreFromTrash: (imageId, to, options) => {
      const what = `restore ${named(to)} from the trash`;
      return door.pass({ call: 'restoreFromTrash', what, where: to }, options, (namespace) => {
        const image = namespace.trash.get(imageId);
        if (image === undefined) throw refusal('IMAGE_NOT_FOUND', what, `there is no image ${imageId} in the trash`);
        mustBeFree(namespace, to, what);
        door.mayWrite(what, to.pool);
        namespace.trash.delete(imageId);
        image.name = to.image;
        namespace.images.set(to.image, image);
      });
    },
  };
};
