import { FerryError } from '../errors/ferry-error.js';
import { orThrow } from '../errors/parsed.js';
import type * as wire from '../gen/rbdferry/v1/model.js';
import { BackupKind as WireKind } from '../gen/rbdferry/v1/model.js';
import {
  isSnapName,
  parseBackupId,
  splitChainName,
  type BackupId,
  type ChainName,
  type SnapName,
} from '../model/backup-id.js';
import type { Backup, BackupKind, Chain, ChainUsage, SourceFacts, SourceIdentity } from '../model/chain.js';
import { formatImageSpec, parseImageSpec, type ImageSpec } from '../model/image-spec.js';

/** Conversions between the wire's messages and the model; what comes from the wire is checked here, once. */

const missing = (what: string): FerryError => new FerryError('INVALID_REQUEST', `the message lacks its ${what}`);

export const requireField = <T>(value: T | undefined, what: string): T => {
  if (value === undefined) throw missing(what);
  return value;
};

const requireText = (value: string, what: string): string => {
  if (value === '') throw missing(what);
  return value;
};

export const specFromWire = (spec: wire.ImageSpec | undefined): ImageSpec =>
  orThrow(parseImageSpec(formatImageSpec(requireField(spec, 'image'))), 'INVALID_IMAGE_SPEC');

export const snapFromWire = (snap: string): SnapName => {
  if (isSnapName(snap)) return snap;
  throw new FerryError('INVALID_REQUEST', `${JSON.stringify(snap)} is not a snapshot name like TIMESTAMP.snap`);
};

/** An id that must be one, or null for the empty text. */
export const idFromWire = (id: string): BackupId | null => {
  if (id === '') return null;
  orThrow(parseBackupId(id), 'INVALID_BACKUP_ID');
  return id as BackupId;
};

const maxObjectSize = 64 * 1024 * 1024;

export const identityFromWire = (identity: wire.SourceIdentity): SourceIdentity => ({
  fsid: requireText(identity.fsid, 'fsid'),
  image: specFromWire(identity.image),
  imageId: requireText(identity.imageId, 'image id'),
});

export const sourceToWire = (facts: SourceFacts): wire.SourceFacts => ({
  identity: facts.identity,
  snapId: BigInt(facts.snapId),
  layout: {
    sizeBytes: facts.layout.sizeBytes,
    objectSizeBytes: facts.layout.objectSizeBytes,
    stripeUnitBytes: BigInt(facts.layout.stripeUnitBytes),
    stripeCount: facts.layout.stripeCount,
    features: [...facts.layout.features],
    dataPool: facts.layout.dataPool ?? '',
  },
  metadata: { ...facts.metadata },
  metadataOmitted: facts.metadataOmitted,
  parent: facts.parent ?? '',
});

export const sourceFromWire = (facts: wire.SourceFacts): SourceFacts => {
  const identity = requireField(facts.identity, 'source identity');
  const layout = requireField(facts.layout, 'image layout');
  if (layout.objectSizeBytes < 4096 || layout.objectSizeBytes > maxObjectSize) {
    throw new FerryError('INVALID_REQUEST', `an object size of ${layout.objectSizeBytes} bytes is not RBD's`);
  }
  return {
    identity: identityFromWire(identity),
    snapId: Number(facts.snapId),
    layout: {
      sizeBytes: layout.sizeBytes,
      objectSizeBytes: layout.objectSizeBytes,
      stripeUnitBytes: Number(layout.stripeUnitBytes),
      stripeCount: layout.stripeCount,
      features: layout.features,
      dataPool: layout.dataPool === '' ? null : layout.dataPool,
    },
    metadata: facts.metadata,
    metadataOmitted: facts.metadataOmitted,
    parent: facts.parent === '' ? null : facts.parent,
  };
};

export const backupToWire = (backup: Backup): wire.Backup => ({
  id: backup.id,
  kind: kindToWire(backup.kind),
  source: backup.source === null ? undefined : sourceToWire(backup.source),
  sizeBytes: backup.sizeBytes,
  streamBytes: backup.streamBytes,
  dataBytes: backup.dataBytes,
  streamSha256: Buffer.from(backup.streamSha256),
  committedAtMs: BigInt(backup.committedAtMs),
  baseId: backup.baseId ?? '',
  client: backup.client ?? '',
});

export const backupFromWire = (backup: wire.Backup): Backup => {
  const parts = orThrow(parseBackupId(backup.id), 'INVALID_BACKUP_ID');
  return {
    id: backup.id as BackupId,
    snap: parts.snap,
    kind: kindFromWire(backup.kind),
    source: backup.source === undefined ? null : sourceFromWire(backup.source),
    sizeBytes: backup.sizeBytes,
    streamBytes: backup.streamBytes,
    dataBytes: backup.dataBytes,
    streamSha256: backup.streamSha256,
    committedAtMs: Number(backup.committedAtMs),
    baseId: idFromWire(backup.baseId),
    client: backup.client === '' ? null : backup.client,
  };
};

export const chainToWire = (chain: Chain): wire.Chain => ({
  store: chain.store,
  name: chain.name,
  backups: chain.backups.map(backupToWire),
  active: chain.active,
  legacy: chain.legacy,
  partial: chain.partial,
});

export const chainFromWire = (chain: wire.Chain): Chain => ({
  store: chain.store,
  name: chainNameFromWire(chain.name),
  backups: chain.backups.map(backupFromWire),
  active: chain.active,
  legacy: chain.legacy,
  partial: chain.partial,
});

export const usageToWire = (usage: ChainUsage): wire.ChainUsage => ({
  store: usage.store,
  chain: usage.chain,
  source: usage.source ?? undefined,
  client: usage.client ?? '',
  active: usage.active,
  legacy: usage.legacy,
  backups: usage.backups.map((backup) => ({
    backupId: backup.id,
    addedBytes: backup.addedBytes,
    sizeBytes: backup.sizeBytes,
    committedAtMs: BigInt(backup.committedAtMs),
    kind: kindToWire(backup.kind),
    streamBytes: backup.streamBytes,
  })),
});

export const usageFromWire = (usage: wire.ChainUsage): ChainUsage => ({
  store: usage.store,
  chain: chainNameFromWire(usage.chain),
  source: usage.source === undefined ? null : identityFromWire(usage.source),
  client: usage.client === '' ? null : usage.client,
  active: usage.active,
  legacy: usage.legacy,
  backups: usage.backups.map((backup) => ({
    id: requireId(backup.backupId),
    addedBytes: backup.addedBytes,
    sizeBytes: backup.sizeBytes,
    committedAtMs: Number(backup.committedAtMs),
    kind: kindFromWire(backup.kind),
    streamBytes: backup.streamBytes,
  })),
});

const requireId = (text: string): BackupId => {
  const id = idFromWire(text);
  if (id === null) throw missing('backup id');
  return id;
};

const kindToWire = (kind: BackupKind): WireKind => (kind === 'full' ? WireKind.FULL : WireKind.INCREMENTAL);
const kindFromWire = (kind: WireKind): BackupKind => (kind === WireKind.FULL ? 'full' : 'incremental');

export const chainNameFromWire = (name: string): ChainName => {
  const parts = splitChainName(name);
  if (parts === undefined) throw new FerryError('INVALID_REQUEST', `${JSON.stringify(name)} is not a chain's name`);
  return parts.chain;
};
