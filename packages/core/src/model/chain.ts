import type { BackupId, ChainName, SnapName } from './backup-id.js';
import type { SplitMetadata } from './image-meta.js';
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
  /** Milliseconds since 1970. */
  readonly committedAtMs: number;
  /** What the increment started from; null for a full. */
  readonly baseId: BackupId | null;
  /** Common name of the client certificate that sent it; null for a backup of the older tool. */
  readonly client: string | null;
}

/** One full backup and the increments on it. */
export interface Chain {
  readonly store: string;
  readonly name: ChainName;
  /** Oldest first; only committed ones. */
  readonly backups: readonly Backup[];
  readonly active: boolean;
  readonly legacy: boolean;
  readonly partial: boolean;
}

/** What one backup takes up; see {@link ChainUsage}. */
export interface BackupUsage extends Pick<Backup, 'id' | 'kind' | 'sizeBytes' | 'streamBytes' | 'committedAtMs'> {
  /** Bytes of data in the extents that differ from the backup before it, as `rbd diff` on the store counts them. */
  readonly addedBytes: bigint;
}

/** What a chain takes up: the sum of what its backups added. */
export interface ChainUsage {
  readonly store: string;
  readonly chain: ChainName;
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

/** Whether two specs name the same place. */
export const sameSpec = (a: ImageSpec, b: ImageSpec): boolean =>
  a.pool === b.pool && a.namespace === b.namespace && a.image === b.image;

/** The image a chain belongs to: that of its oldest backup; null in a chain of the older tool or without backups. */
export const chainSource = (chain: Pick<Chain, 'backups'>): SourceIdentity | null =>
  chain.backups[0]?.source?.identity ?? null;

/**
 * Marks as active, for each source image, the chain with its newest backup. Chains of the older tool form groups by image name.
 *
 * @param chains in any order; keeps the order
 */
export const markActive = <C extends Omit<Chain, 'active'>>(chains: readonly C[]): (C & { active: boolean })[] => {
  const newest = new Map<string, { chain: C; snap: string }>();
  for (const chain of chains) {
    const last = chain.backups.at(-1);
    if (last === undefined) continue;
    const key = groupKey(chain);
    const best = newest.get(key);
    if (best === undefined || last.snap > best.snap) newest.set(key, { chain, snap: last.snap });
  }
  return chains.map((chain) => ({ ...chain, active: newest.get(groupKey(chain))?.chain === chain }));
};

const groupKey = (chain: Omit<Chain, 'active'>): string => {
  const identity = chainSource(chain);
  if (identity === null) return `legacy ${chain.name.slice(0, -'.YYYY-MM-DD.hh:mm:ss.uuuuuu.bkp.image'.length)}`;
  const { pool, namespace, image } = identity.image;
  return [identity.fsid, pool, namespace, image].join('/');
};
