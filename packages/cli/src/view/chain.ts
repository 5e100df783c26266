import { FerryError } from '@rbdferry/core/errors/ferry-error.js';
import type { ListBackupsResponse } from '@rbdferry/core/gen/rbdferry/v1/control.js';
import type { Backup as WireBackup, SourceIdentity } from '@rbdferry/core/gen/rbdferry/v1/model.js';
import { parseBackupId, snapTime, splitChainName, timestampToMs } from '@rbdferry/core/model/backup-id.js';
import type { BackupKind } from '@rbdferry/core/model/chain.js';
import { formatImageSpec } from '@rbdferry/core/model/image-spec.js';
import { backupKindView, dateOrNull, orNull } from './job.js';

/** Which image on which cluster the backups are of. */
export interface SourceView {
  readonly fsid: string;
  /** POOL[/NAMESPACE]/IMAGE */
  readonly image: string;
  readonly imageId: string;
}

/** One restorable point. What the older tool did not write down is null. */
export interface BackupView {
  readonly id: string;
  readonly kind: BackupKind | null;
  /** The moment of the snapshot, which is what the backup holds. */
  readonly snapshotAt: Date | null;
  readonly committedAt: Date | null;
  /** Size of the image at this point. */
  readonly sizeBytes: bigint;
  /** Bytes of the diff stream. */
  readonly streamBytes: bigint | null;
  /** Bytes of data in that stream. */
  readonly dataBytes: bigint | null;
  /** Hexadecimal GMAC of that stream, as in docs/wire-protocol.md. */
  readonly streamGmac: string | null;
  /** What an increment started from. */
  readonly baseId: string | null;
  /** Common name of the certificate that sent it. */
  readonly client: string | null;
  /** Whether its snapshot still exists on the source, so that an increment can start from it. */
  readonly presentOnSource: boolean;
}

/** A chain as the CLI shows it. This is the JSON shape too: dates become ISO 8601 in UTC, sizes numbers of bytes. */
export interface ChainView {
  readonly store: string;
  /** IMAGE.TIMESTAMP.bkp.image */
  readonly name: string;
  /** POOL[/NAMESPACE]/IMAGE; the bare name in a chain of the older tool; null in one without backups. */
  readonly image: string | null;
  /** Null in a chain of the older tool, and in one without backups. */
  readonly source: SourceView | null;
  /** Whether it holds the newest backup of its image; the others are passive. */
  readonly active: boolean;
  /** Made by the older tool. */
  readonly legacy: boolean;
  /** A transfer into it is under way or broke off. */
  readonly partial: boolean;
  /** Oldest first. */
  readonly backups: readonly BackupView[];
}

/** @throws PROTOCOL_MISMATCH */
export const chainView = ({ chain, presentOnSource }: ListBackupsResponse): ChainView => {
  if (chain === undefined) throw new FerryError('PROTOCOL_MISMATCH', 'the agent answered without a chain');
  const present = new Set(presentOnSource);
  const source = sourceOf(chain.backups[0]?.source?.identity);
  return {
    store: chain.store,
    name: chain.name,
    image: source?.image ?? (chain.legacy ? (splitChainName(chain.name)?.image ?? null) : null),
    source,
    active: chain.active,
    legacy: chain.legacy,
    partial: chain.partial,
    backups: chain.backups.map((backup) => backupView(backup, present.has(backup.id))),
  };
};

/** Null where nothing is known of the source: in a chain of the older tool. */
export const sourceOf = (identity: SourceIdentity | undefined): SourceView | null => {
  if (identity?.image === undefined) return null;
  return { fsid: identity.fsid, image: formatImageSpec(identity.image), imageId: identity.imageId };
};

const backupView = (backup: WireBackup, presentOnSource: boolean): BackupView => {
  const known = backup.source !== undefined;
  return {
    id: backup.id,
    kind: backupKindView(backup.kind),
    snapshotAt: snapshotAt(backup.id),
    committedAt: dateOrNull(backup.committedAtMs),
    sizeBytes: backup.sizeBytes,
    streamBytes: known ? backup.streamBytes : null,
    dataBytes: known ? backup.dataBytes : null,
    streamGmac: orNull(Buffer.from(backup.streamGmac).toString('hex')),
    baseId: orNull(backup.baseId),
    client: orNull(backup.client),
    presentOnSource,
  };
};

/** The moment in a backup's id. */
export const snapshotAt = (id: string): Date | null => {
  const parsed = parseBackupId(id);
  const time = parsed.ok ? snapTime(parsed.value.snap) : undefined;
  const ms = time === undefined ? Number.NaN : timestampToMs(time);
  return Number.isNaN(ms) ? null : new Date(ms);
};
