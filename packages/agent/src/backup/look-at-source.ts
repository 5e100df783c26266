import type { CephPort, ImageInfo, Snapshot } from '@rbdferry/core/ceph/port.js';
import { FerryError } from '@rbdferry/core/errors/ferry-error.js';
import { isSnapName, parseBackupId, splitChainName } from '@rbdferry/core/model/backup-id.js';
import type { Chain, SourceFacts } from '@rbdferry/core/model/chain.js';
import {
  fitMetadata,
  maxKeptMetadataBytes,
  splitMetadata,
  type MetadataEntry,
  type SplitMetadata,
} from '@rbdferry/core/model/image-meta.js';
import { formatImageSpec, type ImageSpec } from '@rbdferry/core/model/image-spec.js';
import { newestCommon, type SourceView } from '@rbdferry/core/model/planner.js';
import { isOwnKey, lineageOf, selectOf } from '../lineage.js';
import type { LookOptions, ReceiverClient } from '../receiver-client/receiver-client.js';

/** An image as it is before its snapshot. */
export interface SourceImage {
  readonly spec: ImageSpec;
  readonly info: ImageInfo;
  readonly view: SourceView;
  readonly metadata: SplitMetadata;
  /** What it says itself of whether it is selected, see lineage.ts; null when it says nothing. */
  readonly select: string | null;
}

/** What looking at an image asks of Ceph. */
export type LookPort = Pick<CephPort, 'fsid' | 'info' | 'snapshots' | 'metadataEntries'>;

/** @throws IMAGE_NOT_FOUND, POOL_NOT_FOUND, NAMESPACE_NOT_FOUND, CEPH_* */
export const lookAtSource = async (
  ceph: LookPort,
  spec: ImageSpec,
  options: { signal?: AbortSignal | undefined },
): Promise<SourceImage> => {
  const [fsid, [info, entries], snapshots] = await Promise.all([
    ceph.fsid(options),
    infoAndMetadata(ceph, spec, options),
    ceph.snapshots(spec, options),
  ]);
  return {
    spec,
    info,
    view: { identity: { fsid, image: spec, imageId: info.id }, snapshots, lineage: lineageOf(entries) },
    metadata: splitMetadata(entries, isOwnKey),
    select: selectOf(entries),
  };
};

const infoAndMetadata = async (
  ceph: LookPort,
  spec: ImageSpec,
  options: { signal?: AbortSignal | undefined },
): Promise<[ImageInfo, MetadataEntry[]]> => {
  const info = await ceph.info(spec, options);
  return [info, await ceph.metadataEntries(spec, info.id, options)];
};

/** Refuses, before anything is made, what rbd would refuse or choke on in the middle. @throws IMAGE_UNSUPPORTED, IMAGE_READ_ONLY */
export const refuseUnsupported = async (
  ceph: Pick<CephPort, 'liveImport'>,
  { spec, info }: SourceImage,
  options: { signal?: AbortSignal | undefined },
): Promise<void> => {
  const name = formatImageSpec(spec);
  if (info.format === 1) throw new FerryError('IMAGE_UNSUPPORTED', `the image ${name} is of format 1`);
  if (info.mirroring?.primary === false) {
    throw new FerryError(
      'IMAGE_READ_ONLY',
      `the image ${name} is mirrored and not the primary one: no snapshot can be made of it`,
    );
  }
  if (info.features.includes('migrating') && (await ceph.liveImport(spec, options))) {
    throw new FerryError('IMAGE_UNSUPPORTED', `the image ${name} is in live import: rbd cannot export it yet`);
  }
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
  await refuseUnsupported(ceph, source, options);
  const near = withoutTwins([...(await named), ...(await ancestorsOf(source, where.store, where.receiver, options))]);
  return { source, chains: await withFarChains(source, near, where, options) };
};

/** Each chain once: one that goes on under another name is found by either. */
const withoutTwins = (chains: readonly Chain[]): Chain[] => [
  ...new Map(chains.map((chain) => [chain.name, chain])).values(),
];

/**
 * An image that was renamed, or whose pool was, has its backups in chains of another name. Only when nothing near can be built on and the
 * image has snapshots like ours is the whole store looked through.
 */
const withFarChains = async (
  { view }: SourceImage,
  near: Chain[],
  { receiver, store }: { readonly receiver: Pick<ReceiverClient, 'chains'>; readonly store: string },
  options: { signal?: AbortSignal | undefined },
): Promise<Chain[]> => {
  const names = new Set(view.snapshots.map(({ name }) => name).filter(isSnapName));
  if (names.size === 0 || newestCommon(view, near) !== null) return near;
  const known = new Set(near.map(({ name }) => name));
  const all = await collect(receiver.chains(store, null, options));
  const far = all.filter((chain) => !known.has(chain.name) && chain.backups.some(({ snap }) => names.has(snap)));
  return [...near, ...far];
};

/** Chains of the image's name, and the one that a restored image of another name descends from. */
export const chainsOf = async (
  source: SourceImage,
  store: string,
  receiver: Pick<ReceiverClient, 'chains'>,
  options: { signal?: AbortSignal | undefined },
): Promise<Chain[]> => {
  const near = withoutTwins([
    ...(await collect(receiver.chains(store, source.spec.image, options))),
    ...(await ancestorsOf(source, store, receiver, options)),
  ]);
  return withFarChains(source, near, { receiver, store }, options);
};

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
  ...fitMetadata(source.metadata, maxKeptMetadataBytes),
  parent: source.info.parent === null ? null : `${formatImageSpec(source.info.parent)}@${source.info.parent.snap}`,
});
