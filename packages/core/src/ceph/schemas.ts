import { z } from 'zod';
import { FerryError } from '../errors/ferry-error.js';
import { formatImageSpec } from '../model/image-spec.js';
import type { ImageInfo, ImageListing, ParentInfo, Snapshot, TrashEntry } from './port.js';

/**
 * What `rbd --format json` prints, as seen on 16.2.15. Unknown keys are ignored: other releases print more. Numbers beyond
 * 2^53 (an image of 8 PiB) are refused by zod rather than rounded.
 */
const bool = z.union([z.boolean(), z.enum(['true', 'false']).transform((text) => text === 'true')]);
const size = z.int().nonnegative().transform(BigInt);

const parentSchema = z
  .object({
    pool: z.string(),
    pool_namespace: z.string().default(''),
    image: z.string(),
    id: z.string().default(''),
    snapshot: z.string(),
  })
  .transform(({ pool, pool_namespace: namespace, image, id: imageId, snapshot: snap }): ParentInfo => ({
    pool,
    namespace,
    image,
    imageId,
    snap,
  }));

export const infoSchema = z
  .object({
    // Images of format 1 have none, nor features.
    id: z.string(),
    name: z.string(),
    format: z.union([z.literal(1), z.literal(2)]).default(2),
    size,
    object_size: z.int().positive(),
    stripe_unit: z.int().positive().optional(),
    stripe_count: z.int().positive().optional(),
    features: z.array(z.string()).default([]),
    op_features: z.array(z.string()).default([]),
    data_pool: z.string().optional(),
    parent: parentSchema.optional(),
    group: z.string().optional(),
    mirroring: z.object({ state: z.string(), primary: bool.default(false) }).optional(),
  })
  .transform((info): ImageInfo => ({
    id: info.id,
    name: info.name,
    format: info.format,
    sizeBytes: info.size,
    objectSizeBytes: info.object_size,
    stripeUnitBytes: info.stripe_unit ?? info.object_size,
    stripeCount: info.stripe_count ?? 1,
    features: info.features.toSorted(),
    dataPool: info.data_pool ?? null,
    parent: info.parent ?? null,
    hasClones: info.op_features.includes('clone-parent'),
    group: info.group ?? null,
    mirroring:
      info.mirroring === undefined || info.mirroring.state === 'disabled' ? null : { primary: info.mirroring.primary },
  }));

export const snapshotsSchema = z
  .array(z.object({ id: z.int(), name: z.string(), size, protected: bool.default(false) }))
  .transform((snaps) =>
    snaps
      .map((snap): Snapshot => ({ id: snap.id, name: snap.name, sizeBytes: snap.size, protected: snap.protected }))
      .toSorted((a, b) => a.id - b.id),
  );

/** A snapshot that Ceph keeps for itself. */
export interface HiddenSnapshot {
  readonly id: number;
  readonly name: string;
  /** trash, group, mirror. */
  readonly type: string;
  /** What it was called before it was removed; null when it was not. */
  readonly removedName: string | null;
}

/** `snap ls --all`: those that are not the user's own. */
export const hiddenSnapshotsSchema = z
  .array(
    z.object({
      id: z.int(),
      name: z.string(),
      namespace: z.object({ type: z.string(), original_name: z.string().optional() }).default({ type: 'user' }),
    }),
  )
  .transform((snaps) =>
    snaps
      .filter(({ namespace }) => namespace.type !== 'user')
      .map(({ id, name, namespace: { type, original_name: original } }): HiddenSnapshot => ({
        id,
        name,
        type,
        removedName: type === 'trash' ? (original ?? name) : null,
      })),
  );

/** `children`: clones of a snapshot. */
export const clonesSchema = z
  .array(z.object({ pool: z.string(), pool_namespace: z.string().default(''), image: z.string() }))
  .transform((clones) =>
    clones.map(({ pool, pool_namespace: namespace, image }) => formatImageSpec({ pool, namespace, image })),
  );

/** `diff` with whole objects. */
export const extentsSchema = z.array(z.unknown());

export const namesSchema = z.array(z.string());

/** One row for each image, and one more for each of its snapshots. */
export const listingSchema = z
  .array(
    z.object({
      image: z.string(),
      id: z.string().default(''),
      snapshot: z.string().optional(),
      snapshot_id: z.int().optional(),
      size,
      protected: bool.default(false),
    }),
  )
  .transform((rows): ImageListing[] => {
    const images = new Map<string, { name: string; id: string; snapshots: Snapshot[] }>();
    for (const row of rows) {
      const image = images.get(row.image) ?? { name: row.image, id: row.id, snapshots: [] };
      images.set(row.image, image);
      if (row.snapshot === undefined || row.snapshot_id === undefined) continue;
      image.snapshots.push({ id: row.snapshot_id, name: row.snapshot, sizeBytes: row.size, protected: row.protected });
    }
    for (const image of images.values()) image.snapshots.sort((a, b) => a.id - b.id);
    return [...images.values()];
  });

const metadataSchema = z.record(z.string(), z.string());

/** The answer of `image-meta list`, or undefined when it is none: rbd prints keys as they are, quotes and newlines too. */
export const metadataIn = (text: string): Map<string, string> | undefined => {
  try {
    const { data } = metadataSchema.safeParse(JSON.parse(text));
    return data === undefined ? undefined : new Map(Object.entries(data));
  } catch {
    return undefined;
  }
};

export const watchersSchema = z
  .object({ watchers: z.array(z.object({ address: z.string() })).default([]) })
  .transform(({ watchers }) => watchers.map(({ address }) => address));

/** `status`: a migration within the cluster has a source pool, one from elsewhere has a spec. */
export const liveImportSchema = z
  .object({ migration: z.object({ source_spec: z.string().optional() }).optional() })
  .transform(({ migration }) => migration?.source_spec !== undefined);

export const trashSchema = z
  .array(z.object({ id: z.string().min(1), name: z.string() }))
  .transform((rows): TrashEntry[] => rows);

/**
 * `ceph osd dump`: names of the pools that take no more writes. The flag of a pool is what its clients obey; releases before
 * Nautilus had one flag for the whole cluster.
 */
export const fullPoolsSchema = z
  .object({
    flags_set: z.array(z.string()).default([]),
    pools: z.array(z.object({ pool_name: z.string(), flags_names: z.string().default('') })),
  })
  .transform(({ flags_set, pools }) =>
    pools
      .filter(({ flags_names }) => isFull(flags_set) || isFull(flags_names.split(',')))
      .map(({ pool_name }) => pool_name),
  );

const isFull = (flags: readonly string[]): boolean => flags.includes('full') || flags.includes('full_quota');

/** @param what for the message, as in `cannot list the images of "rbd"` @throws CEPH_FAILED when it is not what we expect of rbd */
export const parseAnswer = <T>(schema: z.ZodType<T>, text: string, what: string): T => {
  const result = schema.safeParse(parseJson(text, what));
  if (result.success) return result.data;
  throw new FerryError(
    'CEPH_FAILED',
    `cannot ${what}: rbd answered something unexpected: ${z.prettifyError(result.error)}`,
    {
      hint: 'this release of Ceph may be unknown to rbdferry',
    },
  );
};

const parseJson = (text: string, what: string): unknown => {
  try {
    return JSON.parse(text);
  } catch (thrown) {
    throw new FerryError('CEPH_FAILED', `cannot ${what}: rbd answered no JSON: ${JSON.stringify(text.slice(0, 100))}`, {
      cause: thrown,
    });
  }
};

/** What `ceph fsid` prints. @throws CEPH_FAILED */
export const parseFsid = (text: string): string => {
  const fsid = z.uuid().safeParse(text.trim());
  if (fsid.success) return fsid.data;
  throw new FerryError('CEPH_FAILED', `ceph fsid answered ${JSON.stringify(text.slice(0, 100))}`);
};
