import { FerryError } from '@rbdferry/core/errors/ferry-error.js';
import type { GetUsageResponse } from '@rbdferry/core/gen/rbdferry/v1/control.js';
import type { BackupUsage as WireUsage, UnreadableChain } from '@rbdferry/core/gen/rbdferry/v1/model.js';
import { splitChainName } from '@rbdferry/core/model/backup-id.js';
import type { BackupKind } from '@rbdferry/core/model/chain.js';
import { shortIdOf } from '@rbdferry/core/wire/short-id.js';
import { snapshotAt, sourceOf, unreadableError, type SourceView } from './chain.js';
import { backupKindView, dateOrNull, orNull, type JobError } from './job.js';

/** What one backup takes up. */
export interface BackupUsageView {
  readonly id: string;
  /** What stands for the id on a command line. */
  readonly shortId: string;
  /** The image it is of; backups of a chain may be of several. Null in a backup of the older tool. */
  readonly source: SourceView | null;
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
  /** POOL[/NAMESPACE]/IMAGE of the first backup; the bare name in a chain of the older tool. */
  readonly image: string;
  /** All images that its backups are of. */
  readonly images: readonly string[];
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

/** A chain that is there and cannot be read or measured. This is the JSON shape too. */
export interface UnreadableView {
  readonly store: string;
  /** IMAGE.TIMESTAMP.bkp.image; empty when it may be another client's. */
  readonly name: string;
  readonly error: JobError;
}

export const unreadableUsage = (unreadable: UnreadableChain): UnreadableView => ({
  store: unreadable.store,
  name: unreadable.name,
  error: unreadableError(unreadable),
});

/** @throws PROTOCOL_MISMATCH */
export const usageView = ({ usage }: GetUsageResponse): ChainUsageView => {
  if (usage === undefined) throw new FerryError('PROTOCOL_MISMATCH', 'the agent answered without a usage');
  const source = sourceOf(usage.source);
  const backups = usage.backups.map((backup) => backupUsage(backup, { legacy: usage.legacy, source }));
  return {
    store: usage.store,
    name: usage.chain,
    image: source?.image ?? splitChainName(usage.chain)?.image ?? usage.chain,
    images: [...new Set(backups.flatMap(({ source }) => source?.image ?? []))],
    source,
    client: orNull(usage.client),
    active: usage.active,
    legacy: usage.legacy,
    usedBytes: usage.backups.reduce((sum, { addedBytes }) => sum + addedBytes, 0n),
    sizeBytes: usage.backups.at(-1)?.sizeBytes ?? 0n,
    backups,
  };
};

const backupUsage = (
  backup: WireUsage,
  chain: { readonly legacy: boolean; readonly source: SourceView | null },
): BackupUsageView => ({
  id: backup.backupId,
  shortId: shortIdOf(backup.backupId),
  source: sourceOf(backup.source) ?? chain.source,
  kind: backupKindView(backup.kind),
  snapshotAt: snapshotAt(backup.backupId),
  committedAt: dateOrNull(backup.committedAtMs),
  addedBytes: backup.addedBytes,
  sizeBytes: backup.sizeBytes,
  streamBytes: chain.legacy ? null : backup.streamBytes,
});

export const totalsOf = (chains: readonly ChainUsageView[]): UsageTotals => ({
  usedBytes: chains.reduce((sum, chain) => sum + chain.usedBytes, 0n),
  backups: chains.reduce((sum, chain) => sum + chain.backups.length, 0),
});

/**
 * Whole MB of 1048576 bytes, rounded down: the older tool cut off what was behind the point.
 */
export const wholeMegabytes = (bytes: bigint): bigint => bytes / 1_048_576n;
