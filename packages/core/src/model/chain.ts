import type { BackupId, ChainName, SnapName } from './backup-id.js';
import type { Hold } from './hold.js';
import type { SplitMetadata } from './image-meta.js';
import { newestOf } from './backup-order.js';
import { byImage } from './image-backups.js';
import type { ImageSpec } from './image-spec.js';

/** One image on one cluster. The name may later be another image's; (fsid, pool, namespace, image id) may not. */
export interface SourceIdentity {
  readonly fsid: string;
  readonly image: ImageSpec;
  readonly imageId: string;
}

/** How an image is laid out; sizes in bytes. */
export interface Layout {
  readonly sizeBytes: bigint;
  readonly objectSizeBytes: number;
  readonly stripeUnitBytes: number;
  readonly stripeCount: number;
  readonly features: readonly string[];
  readonly dataPool: string | null;
}

/** What the agent knew of the image at the backup's snapshot; the image-meta is the user's own. */
export interface SourceFacts extends SplitMetadata {
  readonly identity: SourceIdentity;
  /** Id of the snapshot on the source cluster. */
  readonly snapId: number;
  readonly layout: Layout;
  readonly metadataOmitted: boolean;
  /** The parent's spec when the image was a clone. */
  readonly parent: string | null;
}

export type BackupKind = 'full' | 'incremental';

/** What ends a whole diff stream. */
export interface StreamEnd {
  readonly streamBytes: bigint;
  readonly streamGmac: Uint8Array;
}

/** One restorable point. */
export interface Backup {
  readonly id: BackupId;
  readonly snap: SnapName;
  readonly kind: BackupKind;
  /** Null in a backup that the older tool made. */
  readonly source: SourceFacts | null;
  readonly sizeBytes: bigint;
  /** Bytes of the diff stream; 0n when unknown. */
  readonly streamBytes: bigint;
  /** Bytes of data extents in that stream; 0n when unknown. */
  readonly dataBytes: bigint;
  /** GMAC of that stream (`transfer/stream-digest.ts`); empty when unknown. */
  readonly streamGmac: Uint8Array;
  /** By the receiver's clock, in milliseconds since 1970; in a backup of the older tool the time in its name. */
  readonly committedAtMs: number;
  /** What the increment started from; null for a full. */
  readonly baseId: BackupId | null;
  /** Common name of the client certificate that sent it; null for a backup of the older tool. */
  readonly client: string | null;
  /** The hold that was put on it last, which may have ended; null when there is none. */
  readonly hold: Hold | null;
}

/** One full backup and the increments on it. They may be of several images: a restored copy goes on in the chain it comes from. */
export interface Chain {
  readonly store: string;
  readonly name: ChainName;
  /** Oldest first; only committed ones. */
  readonly backups: readonly Backup[];
  /** Whether it holds the newest backup of an image, of any of those that it holds backups of. */
  readonly active: boolean;
  readonly legacy: boolean;
  readonly partial: boolean;
}

/** What one backup takes up; see {@link ChainUsage}. */
export interface BackupUsage extends Pick<Backup, 'id' | 'kind' | 'sizeBytes' | 'streamBytes' | 'committedAtMs'> {
  /** The image it is of; null in a backup of the older tool. */
  readonly source: SourceIdentity | null;
  /** Bytes of data in the extents that differ from the backup before it, as `rbd diff` on the store counts them. */
  readonly addedBytes: bigint;
}

/** What a chain takes up: the sum of what its backups added. */
export interface ChainUsage {
  readonly store: string;
  readonly chain: ChainName;
  /** Of the first of the backups; others may be of other images. */
  readonly source: SourceIdentity | null;
  readonly client: string | null;
  readonly active: boolean;
  readonly legacy: boolean;
  /** Oldest first. */
  readonly backups: readonly BackupUsage[];
}

/** Where a restored image comes from, written on it. */
export interface Lineage {
  readonly backupId: BackupId;
  /** Of the restored image itself. */
  readonly imageId: string;
  /** Of the snapshot the restore made. */
  readonly snapId: number;
}

/** The image of a chain's oldest backup; null in a chain of the older tool or without backups. Later ones may be of other images. */
export const chainSource = (chain: Pick<Chain, 'backups'>): SourceIdentity | null =>
  chain.backups[0]?.source?.identity ?? null;

/**
 * Marks as active, for each source image, the chain with its newest backup. A chain that several images share is active when it is for any
 * of them. Chains of the older tool form groups by image name.
 *
 * @param chains in any order; keeps the order
 */
export const markActive = <C extends Omit<Chain, 'active'>>(chains: readonly C[]): (C & { active: boolean })[] => {
  const active = new Set(byImage(chains).map((image) => newestOf(image.chains)?.chain.name));
  return chains.map((chain) => ({ ...chain, active: active.has(chain.name) }));
};
