import type { CephPort, ImageInfo, Snapshot } from '@rbdferry/core/ceph/port.js';
import { parseBackupId, splitChainName } from '@rbdferry/core/model/backup-id.js';
import type { Chain, SourceFacts } from '@rbdferry/core/model/chain.js';
import { formatImageSpec, type ImageSpec } from '@rbdferry/core/model/image-spec.js';
import type { SourceView } from '@rbdferry/core/model/planner.js';
import { lineageOf, userMetadata } from '../lineage.js';
import type { LookOptions, ReceiverClient } from '../receiver-client/receiver-client.js';

/** An image as it is before its snapshot. */
export interface SourceImage {
  readonly spec: ImageSpec;
  readonly info: ImageInfo;
  readonly view: SourceView;
  readonly metadata: Readonly<Record<string, string>>;
}

/** What looking at an image asks of Ceph. */
export type LookPort = Pick<CephPort, 'fsid' | 'info' | 'snapshots' | 'metadata'>;

/** @throws IMAGE_NOT_FOUND, POOL_NOT_FOUND, NAMESPACE_NOT_FOUND, CEPH_* */
export const lookAtSource = async (
  ceph: LookPort,
  spec: ImageSpec,
  options: { signal?: AbortSignal | undefined },
): Promise<SourceImage> => {
  const [fsid, info, snapshots, metadata] = await Promise.all([
    ceph.fsid(options),
    ceph.info(spec, options),
    ceph.snapshots(spec, options),
    ceph.metadata(spec, options),
  ]);
  return {
    spec,
    info,
    view: { identity: { fsid, image: spec, imageId: info.id }, snapshots, lineage: lineageOf(metadata) },
    metadata: userMetadata(metadata),
  };
};

/** Looks at both sides at the same time. @throws what either throws; the source's error when both do */
export const lookAtBoth = async (
  ceph: CephPort,
  spec: ImageSpec,
  where: { readonly receiver: ReceiverClient; readonly store: string },
  options: { signal?: AbortSignal | undefined },
): Promise<{ source: SourceImage; chains: Chain[] }> => {
  const named = collect(where.receiver.chains(where.store, spec.image, options));
  named.catch(() => {});
  const source = await lookAtSource(ceph, spec, options);
  return { source, chains: [...(await named), ...(await ancestorsOf(source, where.store, where.receiver, options))] };
};

/** Chains of the image's name, and the one that a restored image of another name descends from. */
export const chainsOf = async (
  source: SourceImage,
  store: string,
  receiver: ReceiverClient,
  options: { signal?: AbortSignal | undefined },
): Promise<Chain[]> => [
  ...(await collect(receiver.chains(store, source.spec.image, options))),
  ...(await ancestorsOf(source, store, receiver, options)),
];

/** Chains of the name that the backup had which a restored image of another name is made from. */
export const ancestorsOf = async (
  source: SourceImage,
  store: string,
  receiver: Pick<ReceiverClient, 'chains'>,
  options: LookOptions,
): Promise<Chain[]> => {
  const { lineage } = source.view;
  if (lineage === null) return [];
  const parts = parseBackupId(lineage.backupId);
  const ancestor = parts.ok && parts.value.store === store ? splitChainName(parts.value.chain) : undefined;
  if (ancestor === undefined || ancestor.image === source.spec.image) return [];
  return collect(receiver.chains(store, ancestor.image, options));
};

/** All of them. */
export const collect = async (chains: AsyncIterable<Chain>): Promise<Chain[]> => {
  const all: Chain[] = [];
  for await (const chain of chains) all.push(chain);
  return all;
};

/** What is recorded with the backup: the image as it was, with its size at the snapshot. */
export const factsAt = (source: SourceImage, snapshot: Snapshot): SourceFacts => ({
  identity: source.view.identity,
  snapId: snapshot.id,
  layout: {
    sizeBytes: snapshot.sizeBytes,
    objectSizeBytes: source.info.objectSizeBytes,
    stripeUnitBytes: source.info.stripeUnitBytes,
    stripeCount: source.info.stripeCount,
    features: source.info.features,
    dataPool: source.info.dataPool,
  },
  metadata: source.metadata,
  metadataOmitted: false,
  parent: source.info.parent === null ? null : `${formatImageSpec(source.info.parent)}@${source.info.parent.snap}`,
});
