import { FerryError } from '@rbdferry/core/errors/ferry-error.js';
import type { ListBackupsResponse } from '@rbdferry/core/gen/rbdferry/v1/control.js';
import type {
  Backup as WireBackup,
  Chain as WireChain,
  SourceIdentity,
  UnreadableChain as WireUnreadable,
} from '@rbdferry/core/gen/rbdferry/v1/model.js';
import { parseBackupId, snapTime, splitChainName, timestampToMs } from '@rbdferry/core/model/backup-id.js';
import type { BackupKind } from '@rbdferry/core/model/chain.js';
import { formatImageSpec } from '@rbdferry/core/model/image-spec.js';
import { shortIdOf } from '@rbdferry/core/wire/short-id.js';
import { holdView, type HoldView } from './hold.js';
import { backupKindView, dateOrNull, orNull, type JobError } from './job.js';

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
  /** What stands for the id on a command line. */
  readonly shortId: string;
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
  /** The image it is of; backups of a chain may be of several. Null in a backup of the older tool. */
  readonly source: SourceView | null;
  /** Whether its snapshot still exists on the source, so that an increment can start from it; null while that is not known. */
  readonly presentOnSource: boolean | null;
  /** Why it cannot be deleted now; null when it is not held. */
  readonly hold: HoldView | null;
}

/** A chain as the CLI shows it. This is the JSON shape too: dates become ISO 8601 in UTC, sizes numbers of bytes. */
export interface ChainView {
  readonly store: string;
  /** IMAGE.TIMESTAMP.bkp.image */
  readonly name: string;
  /** POOL[/NAMESPACE]/IMAGE of the first backup; the bare name in a chain of the older tool; null in one without backups. */
  readonly image: string | null;
  /** All images that its backups are of. */
  readonly images: readonly string[];
  /** Null in a chain of the older tool, and in one without backups. */
  readonly source: SourceView | null;
  /** Whether it holds the newest backup of an image, of any of these; the others are passive. */
  readonly active: boolean;
  /** Made by the older tool. */
  readonly legacy: boolean;
  /** A transfer into it is under way or broke off. */
  readonly partial: boolean;
  /** Oldest first. */
  readonly backups: readonly BackupView[];
  /** Why it is not known of all of them whether they are present on the source; null when it is. */
  readonly sourceUnknown: string | null;
  /** Why the chain, which is there, cannot be read; null when it can. One that cannot has no backups here. */
  readonly error: JobError | null;
}

/** @throws PROTOCOL_MISMATCH */
export const chainView = ({ chain, presentOnSource, sourceUnknown, unreadable }: ListBackupsResponse): ChainView => {
  if (unreadable !== undefined) return unreadableView(unreadable);
  if (chain === undefined) throw new FerryError('PROTOCOL_MISMATCH', 'the agent answered without a chain');
  const present = new Set(presentOnSource);
  const isPresent = (id: string) => present.has(id) || (sourceUnknown === '' ? false : null);
  const source = sourceOf(chain.backups[0]?.source?.identity);
  return {
    store: chain.store,
    name: chain.name,
    image: source?.image ?? (chain.legacy ? (splitChainName(chain.name)?.image ?? null) : null),
    images: imagesIn(chain),
    source,
    active: chain.active,
    legacy: chain.legacy,
    partial: chain.partial,
    backups: chain.backups.map((backup) => backupView(backup, isPresent(backup.id))),
    sourceUnknown: orNull(sourceUnknown),
    error: null,
  };
};

const imagesIn = ({ backups }: WireChain): string[] => [
  ...new Set(backups.flatMap(({ source }) => sourceOf(source?.identity)?.image ?? [])),
];

/** A chain of which nothing is known but that it is there. */
const unreadableView = (unreadable: WireUnreadable): ChainView => ({
  store: unreadable.store,
  name: unreadable.name,
  image: null,
  images: [],
  source: null,
  active: false,
  legacy: false,
  partial: false,
  backups: [],
  sourceUnknown: null,
  error: unreadableError(unreadable),
});

/** Why it cannot be read. */
export const unreadableError = ({ error }: WireUnreadable): JobError =>
  error ?? { code: 'CEPH_FAILED', message: 'the agent does not say why', hint: '' };

/** Null where nothing is known of the source: in a chain of the older tool. */
export const sourceOf = (identity: SourceIdentity | undefined): SourceView | null => {
  if (identity?.image === undefined) return null;
  return { fsid: identity.fsid, image: formatImageSpec(identity.image), imageId: identity.imageId };
};

const backupView = (backup: WireBackup, presentOnSource: boolean | null): BackupView => {
  const known = backup.source !== undefined;
  return {
    id: backup.id,
    shortId: shortIdOf(backup.id),
    kind: backupKindView(backup.kind),
    snapshotAt: snapshotAt(backup.id),
    committedAt: dateOrNull(backup.committedAtMs),
    sizeBytes: backup.sizeBytes,
    streamBytes: known ? backup.streamBytes : null,
    dataBytes: known ? backup.dataBytes : null,
    streamGmac: orNull(Buffer.from(backup.streamGmac).toString('hex')),
    baseId: orNull(backup.baseId),
    client: orNull(backup.client),
    source: sourceOf(backup.source?.identity),
    presentOnSource,
    hold: holdView(backup.hold),
  };
};

/** The moment in a backup's id. */
export const snapshotAt = (id: string): Date | null => {
  const parsed = parseBackupId(id);
  const time = parsed.ok ? snapTime(parsed.value.snap) : undefined;
  const ms = time === undefined ? Number.NaN : timestampToMs(time);
  return Number.isNaN(ms) ? null : new Date(ms);
};
