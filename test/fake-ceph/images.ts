import type { CephPort, ImageInfo, ImageLayout, ImageListing } from '@rbdferry/core/ceph/port.js';
import { formatImageSpec, formatPoolSpec, type ImageSpec } from '@rbdferry/core/model/image-spec.js';
import type { ClusterState, FakeNamespace } from './cluster-state.js';
import type { Door } from './door.js';
import { parentInfo, type FakeImage, type FakeParent } from './fake-image.js';
import { named, namedSnap, refusal } from './refusal.js';
import { listed } from './snapshots.js';

type ImageCalls = Pick<
  CephPort,
  'info' | 'infoAt' | 'list' | 'listWithSnapshots' | 'create' | 'watchers' | 'liveImport' | 'remove' | 'rename'
>;

export const imageCalls = (door: Door): ImageCalls => {
  const { cluster } = door;
  return {
    info: (ref, options) =>
      door.pass({ call: 'info', what: `read ${named(ref)}`, where: ref }, options, (_, what) => {
        const image = cluster.image(ref, what);
        return infoOf(cluster, image, image);
      }),

    infoAt: (ref, snap, options) =>
      door.pass({ call: 'infoAt', what: `read ${namedSnap(ref, snap)}`, where: ref }, options, (_, what) => {
        const { image, snapshot } = cluster.snapshot(ref, snap, what);
        return infoOf(cluster, image, snapshot);
      }),

    list: (where, options) => {
      const what = `list the images of "${formatPoolSpec(where)}"`;
      return door.pass({ call: 'list', what, where }, options, ({ names }) => names);
    },

    listWithSnapshots: (where, options) => {
      const what = `list the images and snapshots of "${formatPoolSpec(where)}"`;
      return door.pass({ call: 'listWithSnapshots', what, where }, options, ({ names, images }) =>
        names.flatMap((name) => listing(images.get(name))),
      );
    },

    create: (spec, layout, options) =>
      door.pass({ call: 'create', what: `create ${named(spec)}`, where: spec }, options, (namespace, what) => {
        if (layout.dataPool !== null) cluster.pool(layout.dataPool, what);
        mustBeFree(namespace, spec, what);
        door.mayWrite(what, spec.pool, layout.dataPool);
        cluster.addImage(spec, asCreated(layout), what);
      }),

    watchers: (spec, options) =>
      door.pass({ call: 'watchers', what: `see who uses ${named(spec)}`, where: spec }, options, (_, what) => [
        ...cluster.image(spec, what).watchers,
      ]),

    liveImport: (spec, options) => {
      const what = `see whether ${named(spec)} is being imported`;
      return door.pass({ call: 'liveImport', what, where: spec }, options, () => {
        cluster.image(spec, what);
        return false;
      });
    },

    remove: (spec, options) =>
      door.pass({ call: 'remove', what: `remove ${named(spec)}`, where: spec }, options, (namespace, what) =>
        remove(door, namespace, spec, what),
      ),

    rename: (from, to, options) => {
      const what = `rename ${named(from)} to "${formatImageSpec(to)}"`;
      return door.pass({ call: 'rename', what, where: from }, options, (namespace) => {
        const image = cluster.image(from, what);
        if (to.pool !== from.pool || to.namespace !== from.namespace)
          throw refusal('CEPH_FAILED', what, 'mv/rename across pools or namespaces not supported');
        mustBeFree(namespace, to, what);
        door.mayWrite(what, to.pool);
        namespace.images.delete(from.image);
        image.name = to.image;
        namespace.images.set(to.image, image);
      });
    },
  };
};

/** @throws IMAGE_EXISTS */
export const mustBeFree = ({ names }: FakeNamespace, { image }: ImageSpec, what: string): void => {
  if (names.includes(image)) throw refusal('IMAGE_EXISTS', what, `there is an image ${image}`);
};

/** A removal that was interrupted is finished; one that another client is at is left to it. */
const remove = (door: Door, namespace: FakeNamespace, { pool, image: name }: ImageSpec, what: string): boolean => {
  const { images, halfRemoved } = namespace;
  const image = images.get(name) ?? halfRemoved.get(name);
  if (image === undefined) return false;
  door.mayRemove(what);
  if (image.snapshots.length > 0) throw refusal('CEPH_FAILED', what, 'image has snapshots - not removing');
  if (image.watchers.size > 0) throw refusal('IMAGE_IN_USE', what, 'image still has watchers');
  if (!namespace.hasTrash && door.cluster.pool(pool, what).full) throw door.late(what);
  namespace.hasTrash = true;
  images.delete(name);
  halfRemoved.delete(name);
  door.cluster.trimHidden();
  return true;
};

const listing = (image: FakeImage | undefined): ImageListing[] =>
  image === undefined
    ? []
    : [{ name: image.name, id: image.id, snapshots: image.userSnapshots.map((each) => listed(each)) }];

/** What `rbd create` takes by name; the others follow from the rest of the layout, or from what happens to the image. */
const creatable = new Set(['layering', 'exclusive-lock', 'object-map', 'fast-diff', 'deep-flatten', 'journaling']);

const asCreated = (layout: ImageLayout): ImageLayout => {
  const named = layout.features.filter((feature) => creatable.has(feature));
  const striped = layout.stripeCount > 1 || layout.stripeUnitBytes !== layout.objectSizeBytes;
  const features = [...named, ...(striped ? ['striping'] : []), ...(layout.dataPool === null ? [] : ['data-pool'])];
  return { ...layout, features };
};

/** @param at the head or a snapshot of the image */
const infoOf = (
  cluster: ClusterState,
  image: FakeImage,
  at: { readonly sizeBytes: bigint; readonly parent: FakeParent | null },
): ImageInfo => {
  const hasClones = cluster.hasClones(image);
  const hasOperations = hasClones || image.parent !== null;
  return {
    ...image.layout,
    id: image.id,
    name: image.name,
    sizeBytes: at.sizeBytes,
    features: [...image.layout.features, ...(hasOperations ? ['operations'] : [])].toSorted(),
    parent: parentInfo(at.parent),
    hasClones,
    format: 2,
    group: null,
    mirroring: null,
  };
};
