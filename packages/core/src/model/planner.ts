import type { BackupId } from './backup-id.js';
import { newestOf } from './backup-order.js';
import type { Backup, Chain, Lineage, SourceIdentity } from './chain.js';
import { ofImage } from './image-backups.js';

export type BackupMode = 'full' | 'incr' | 'auto';

/** What the source has. */
export interface SourceView {
  readonly identity: SourceIdentity;
  readonly snapshots: readonly { readonly id: number; readonly name: string }[];
  /** Set when the image was made by a restore and says so itself. */
  readonly lineage: Lineage | null;
}

/** Why there is nothing to build an increment on, with what was seen. */
export type NoBase =
  | { readonly reason: 'no-chain' }
  | { readonly reason: 'image-recreated'; readonly chainImageId: string; readonly imageId: string }
  | { readonly reason: 'no-common-snapshot'; readonly newestBackup: BackupId };

export type Plan =
  | { readonly kind: 'full'; readonly because: 'asked' | NoBase['reason'] }
  | { readonly kind: 'incremental'; readonly base: Backup }
  | { readonly kind: 'refused'; readonly refusal: NoBase };

/**
 * Decides between full, incremental and refusal from what both sides have.
 *
 * The base is the newest backup whose snapshot the source still has. A snapshot is the backup's when name, snapshot id and
 * image id agree, or when the image's lineage says that a restore of this very backup made it. Chains of the older
 * tool are never built on.
 */
export const planBackup = (mode: BackupMode, source: SourceView, chains: readonly Chain[]): Plan => {
  if (mode === 'full') return { kind: 'full', because: 'asked' };
  const base = newestCommon(source, chains);
  if (base !== null) return { kind: 'incremental', base };
  const refusal = whyNoBase(source, chains);
  return mode === 'auto' ? { kind: 'full', because: refusal.reason } : { kind: 'refused', refusal };
};

/** The newest backup whose snapshot the source still has, or null: the last one of its chain, and of several the last committed. */
export const newestCommon = (source: SourceView, chains: readonly Chain[]): Backup | null =>
  newestOf(commonByChain(source, chains))?.backup ?? null;

/** Every backup whose snapshot the source still has. */
export const commonBackups = (source: SourceView, chains: readonly Chain[]): Backup[] =>
  commonByChain(source, chains).flatMap(({ backups }) => backups);

const commonByChain = (source: SourceView, chains: readonly Chain[]): Pick<Chain, 'backups'>[] =>
  chains
    .filter((chain) => !chain.legacy)
    .map(({ backups }) => ({ backups: backups.filter((backup) => isCommon(backup, source)) }));

/** Whether the source still has the backup's snapshot, so that an increment can build on it. */
export const isCommon = (backup: Backup, source: SourceView): boolean => {
  const snap = source.snapshots.find((each) => each.name === backup.snap);
  if (snap === undefined || backup.source === null) return false;
  const { identity, snapId } = backup.source;
  // Whatever its name and its pool's are by now: image and snapshot ids stay when those change.
  const sameImage = identity.fsid === source.identity.fsid && identity.imageId === source.identity.imageId;
  if (sameImage && snapId === snap.id) return true;
  const { lineage } = source;
  return (
    lineage !== null &&
    lineage.imageId === source.identity.imageId &&
    lineage.backupId === backup.id &&
    lineage.snapId === snap.id
  );
};

const whyNoBase = (source: SourceView, chains: readonly Chain[]): NoBase => {
  const { fsid, image, imageId } = source.identity;
  const ours = ofImage(chains, image).map(({ backups }) => ({
    backups: backups.filter((backup) => backup.source?.identity.fsid === fsid),
  }));
  const newest = newestOf(ours)?.backup;
  if (newest?.source == null) return { reason: 'no-chain' };
  const known = ours.some(({ backups }) => backups.some((backup) => backup.source?.identity.imageId === imageId));
  if (!known && source.lineage?.imageId !== imageId) {
    return { reason: 'image-recreated', chainImageId: newest.source.identity.imageId, imageId };
  }
  return { reason: 'no-common-snapshot', newestBackup: newest.id };
};
