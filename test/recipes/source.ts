import type { CephPort, DiffRange, ImageLayout } from '@rbdferry/core/ceph/port.js';
import { snapNameOf, type SnapName, type Timestamp } from '@rbdferry/core/model/backup-id.js';
import type { SourceFacts } from '@rbdferry/core/model/chain.js';
import { randomBytes } from '../ceph/image-content.js';
import { fakeCeph } from '../fake-ceph/fake-ceph.js';
import { FakeCluster } from '../fake-ceph/fake-cluster.js';

const KiB = 1024;

/** An image with three snapshots, each of which differs from the one before it in data, zeros and size. */
export interface Source {
  readonly cluster: FakeCluster;
  readonly ceph: CephPort;
  readonly image: typeof image;
  /** Oldest first. */
  readonly snaps: readonly [SnapName, SnapName, SnapName];
}

const image = { pool: 'rbd', namespace: '', image: 'vm' };

const layout: ImageLayout = {
  sizeBytes: BigInt(128 * KiB),
  objectSizeBytes: 16 * KiB,
  stripeUnitBytes: 16 * KiB,
  stripeCount: 1,
  features: ['layering'],
  dataPool: null,
};

const snapAt = (hour: string): SnapName => snapNameOf(`2026-11-27.${hour}:00:00.000000` as Timestamp);

export const makeSource = async (): Promise<Source> => {
  const cluster = new FakeCluster('rbd');
  const ceph = fakeCeph(cluster, { chunkBytes: 32 * KiB });
  const snaps = [snapAt('10'), snapAt('11'), snapAt('12')] as const;
  await ceph.create(image, layout);
  cluster.write(image, 5 * KiB, randomBytes('first', 90 * KiB));
  await ceph.createSnapshot(image, snaps[0]);
  cluster.write(image, 30 * KiB, randomBytes('second', 40 * KiB));
  cluster.discard(image, 10 * KiB, 12 * KiB);
  await ceph.createSnapshot(image, snaps[1]);
  cluster.resize(image, 75 * KiB);
  cluster.resize(image, 160 * KiB);
  cluster.write(image, 130 * KiB, randomBytes('third', 20 * KiB));
  await ceph.createSnapshot(image, snaps[2]);
  return { cluster, ceph, image, snaps };
};

/** What the agent would tell of the source at this snapshot. */
export const factsOf = async ({ cluster, ceph, image }: Source, snap: SnapName): Promise<SourceFacts> => {
  const { id: imageId, parent, ...layout } = await ceph.infoAt(image, snap);
  const snapId = (await ceph.snapshots(image)).find(({ name }) => name === snap)?.id ?? 0;
  const identity = { fsid: cluster.fsid, image, imageId };
  const nothing = { metadata: {}, binaryMetadata: [], metadataOmitted: false };
  return { identity, snapId, layout: layoutOf(layout), ...nothing, parent: parent?.image ?? null };
};

const layoutOf = ({
  sizeBytes,
  objectSizeBytes,
  stripeUnitBytes,
  stripeCount,
  features,
  dataPool,
}: ImageLayout): ImageLayout => ({ sizeBytes, objectSizeBytes, stripeUnitBytes, stripeCount, features, dataPool });

/** The stream of a diff, in chunks as they come. */
export const diffOf = async ({ ceph, image }: Source, range: DiffRange): Promise<Uint8Array[]> => {
  const chunks: Uint8Array[] = [];
  for await (const chunk of ceph.exportDiff(image, range)) chunks.push(chunk.bytes);
  return chunks;
};
