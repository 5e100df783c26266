import type { ImageRef, ImageSpec, PoolSpec } from '../model/image-spec.js';
import type { DiffRange, ImageLayout } from './port.js';

/**
 * Arguments of `rbd`. Every value is bound to its option by '=': as a word of its own, a value such as `-x` or `--conf` would
 * be taken for an option, and a name with '@' or '/' for a spec.
 */
export const poolArgs = ({ pool, namespace }: PoolSpec): string[] =>
  namespace === '' ? [`--pool=${pool}`] : [`--pool=${pool}`, `--namespace=${namespace}`];

export const imageArgs = (image: ImageRef): string[] => [
  ...poolArgs(image),
  'imageId' in image ? `--image-id=${image.imageId}` : `--image=${image.image}`,
];

export const snapArgs = (image: ImageRef, snap: string): string[] => [...imageArgs(image), `--snap=${snap}`];

export const rangeArgs = (image: ImageSpec, { snap, fromSnap }: DiffRange): string[] =>
  fromSnap === null ? snapArgs(image, snap) : [...snapArgs(image, snap), `--from-snap=${fromSnap}`];

/** Destination of `rbd rename`. */
export const destArgs = (to: ImageSpec): string[] => {
  const namespace = to.namespace === '' ? [] : [`--dest-namespace=${to.namespace}`];
  return [`--dest-pool=${to.pool}`, ...namespace, `--dest=${to.image}`];
};

/** Features that `rbd create` takes by name. The others follow from other options or from what happens to the image. */
const creatable = new Set(['layering', 'exclusive-lock', 'object-map', 'fast-diff', 'deep-flatten', 'journaling']);

export const isCreatable = (feature: string): boolean => creatable.has(feature);

/**
 * What `rbd create` needs to make an image of this layout, whatever the configuration of the cluster, its pools or the client says
 * of images that do not say it themselves (`rbd_default_...`).
 */
export const layoutArgs = ({ pool }: PoolSpec, layout: ImageLayout): string[] => {
  const features = layout.features.filter(isCreatable);
  return [
    '--image-format=2',
    `--size=${layout.sizeBytes}B`,
    `--object-size=${layout.objectSizeBytes}B`,
    // A stripe of one whole object is no striping, and says so.
    `--stripe-unit=${layout.stripeUnitBytes}B`,
    `--stripe-count=${layout.stripeCount}`,
    // Without any there is nothing to name: but then the default counts.
    features.length === 0 ? '--rbd-default-features=0' : `--image-feature=${features.join(',')}`,
    // The image's own pool is none, and the only way to say so that is stronger than `rbd config pool set`.
    `--data-pool=${layout.dataPool ?? pool}`,
  ];
};

/** For `rbd trash move --expires-at`, which hands it to `date`: whole seconds in UTC, rounded up. */
export const expiryArg = (at: Date): string => {
  const iso = new Date(Math.ceil(at.getTime() / 1000) * 1000).toISOString();
  return `--expires-at=${iso.slice(0, 19)}Z`;
};

/**
 * `import-diff -` keeps one write in flight: only a cache that answers before the OSD does hides the distance to it. A cluster's
 * configuration may have turned it off in any of these ways. `writearound`, Ceph's own default, does it with a fifth less time and
 * CPU than `writeback`, which copies what nobody will read, and in a third of the time where there are many zeroes.
 */
export const writeCacheArgs: readonly string[] = [
  '--rbd-cache=true',
  '--rbd-cache-policy=writearound',
  '--rbd-cache-max-dirty=25165824',
];
