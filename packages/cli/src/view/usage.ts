import { FerryError } from '@rbdferry/core/errors/ferry-error.js';
import type { GetUsageResponse } from '@rbdferry/core/gen/rbdferry/v1/control.js';
import type { BackupUsage as WireUsage } from '@rbdferry/core/gen/rbdferry/v1/model.js';
import { splitChainName } from '@rbdferry/core/model/backup-id.js';
import type { BackupKind } from '@rbdferry/core/model/chain.js';
import { snapshotAt, sourceOf, type SourceView } from './chain.js';
import { backupKindView, dateOrNull, orNull } from './job.js';

/** What one backup takes up. */
export interface BackupUsageView {
  readonly id: string;
  readonly kind: BackupKind | null;
  /** The moment of the snapshot, which is what the backup holds. */
  readonly snapshotAt: Date | null;
  /** In a backup of the older tool the moment in its name. */
  readonly committedAt: Date | null;
  /** Bytes of data in the extents that differ from the backup before it (for the first one: all), as `rbd diff` counts them. */
  readonly addedBytes: bigint;
  /** Size of the image at this point. */
  readonly sizeBytes: bigint;
  /** Bytes of the diff stream; null in a backup of the older tool. */
  readonly streamBytes: bigint | null;
}

/** What a chain takes up. This is the JSON shape too. */
export interface ChainUsageView {
  readonly store: string;
  /** IMAGE.TIMESTAMP.bkp.image */
  readonly name: string;
  /** POOL[/NAMESPACE]/IMAGE; the bare name in a chain of the older tool. */
  readonly image: string;
  /** Null in a chain of the older tool. */
  readonly source: SourceView | null;
  /** Common name of the certificate that sent it; null in a chain of the older tool. */
  readonly client: string | null;
  readonly active: boolean;
  /** Made by the older tool. */
  readonly legacy: boolean;
  /** Sum of what its backups added. */
  readonly usedBytes: bigint;
  /** Size of the image at its newest backup. */
  readonly sizeBytes: bigint;
  /** Oldest first. */
  readonly backups: readonly BackupUsageView[];
}

/** What several chains take up together. */
export interface UsageTotals {
  readonly usedBytes: bigint;
  readonly backups: number;
}

/** @throws PROTOCOL_MISMATCH */
export const usageView = ({ usage }: GetUsageResponse): ChainUsageView => {
  if (usage === undefined) throw new FerryError('PROTOCOL_MISMATCH', 'the agent answered without a usage');
  const source = sourceOf(usage.source);
  return {
    store: usage.store,
    name: usage.chain,
    image: source?.image ?? splitChainName(usage.chain)?.image ?? usage.chain,
    source,
    client: orNull(usage.client),
    active: usage.active,
    legacy: usage.legacy,
    usedBytes: usage.backups.reduce((sum, { addedBytes }) => sum + addedBytes, 0n),
    sizeBytes: usage.backups.at(-1)?.sizeBytes ?? 0n,
    backups: usage.backups.map((backup) => backupUsage(backup, usage.legacy)),
  };
};

const backupUsage = (backup: WireUsage, legacy: boolean): BackupUsageView => ({
  id: backup.backupId,
  kind: backupKindView(backup.kind),
  snapshotAt: snapshotAt(backup.backupId),
  committedAt: dateOrNull(backup.committedAtMs),
  addedBytes: backup.addedBytes,
  sizeBytes: backup.sizeBytes,
  streamBytes: legacy ? null : backup.streamBytes,
});

export const totalsOf = (chains: readonly ChainUsageView[]): UsageTotals => ({
  usedBytes: chains.reduce((sum, chain) => sum + chain.usedBytes, 0n),
  backups: chains.reduce((sum, chain) => sum + chain.backups.length, 0),
});

/**
 * Whole MB of 1048576 bytes, rounded down: the older tool cut off what was behind the point.
 */
export const wholeMegabytes = (bytes: bigint): bigint => bytes / 1_048_576n;
