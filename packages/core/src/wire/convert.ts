import { streamDigestBytes } from '../transfer/stream-digest.js';
import { FerryError } from '../errors/ferry-error.js';
import { orThrow } from '../errors/parsed.js';
import type * as wire from '../gen/rbdferry/v1/model.js';
import type { TransferWaits } from '../gen/rbdferry/v1/transfer.js';
import { BackupKind as WireKind } from '../gen/rbdferry/v1/model.js';
import {
  isSnapName,
  parseBackupId,
  snapTime,
  splitChainName,
  timestampToMs,
  type BackupId,
  type ChainName,
  type SnapName,
} from '../model/backup-id.js';
import type { Hold, HoldTerms } from '../model/hold.js';
import type { Backup, BackupKind, Chain, ChainUsage, Layout, SourceFacts, SourceIdentity } from '../model/chain.js';
import { nameProblem, plainNameProblem, type ImageSpec } from '../model/image-spec.js';
import { quoted } from '../model/parsed.js';
import type { Waits } from '../model/stages.js';

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

const invalid = (what: string): FerryError => new FerryError('INVALID_REQUEST', what);

const requireName = (what: string, name: string): string => {
  const problem = nameProblem(what, name);
  if (problem !== undefined) throw invalid(problem);
  return name;
};

const requireStore = (name: string): string => {
  const problem = plainNameProblem('store', name);
  if (problem !== undefined) throw invalid(problem);
  return name;
};

const requireMatch = (text: string, pattern: RegExp, what: string): string => {
  if (requireText(text, what).length <= maxTextLength && pattern.test(text)) return text;
  throw invalid(`${quoted(text)} is not ${/^[aeiou]/.test(what) ? 'an' : 'a'} ${what}`);
};

/** Of the texts that are kept with each backup: together they must fit beside the user's image-meta. */
const maxTextLength = 500;
const fsidPattern = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
const imageIdPattern = /^[0-9A-Za-z]+$/;
const featurePattern = /^[a-z][a-z0-9-]*$/;

/** A number of the wire (64 bits) as one of JavaScript, which is exact to 53 bits. */
const numberFromWire = (value: bigint, what: string): number => {
  const number = Number(value);
  if (Number.isSafeInteger(number)) return number;
  throw invalid(`${what} of ${value} is too large`);
};

/** The same for sizes, which stay what they are: but nothing that counts them can count further. */
const sizeFromWire = (value: bigint, what: string): bigint => BigInt(numberFromWire(value, what));

/** Each part on its own: a pool called `a/b` is no pool with a namespace. */
export const specFromWire = (spec: wire.ImageSpec | undefined): ImageSpec => {
  const { pool, namespace, image } = requireField(spec, 'image');
  const problem =
    nameProblem('pool', pool) ??
    (namespace === '' ? undefined : nameProblem('namespace', namespace)) ??
    nameProblem('image', image);
  if (problem !== undefined) throw new FerryError('INVALID_IMAGE_SPEC', problem);
  return { pool, namespace, image };
};

export const snapFromWire = (snap: string): SnapName => {
  const time = snapTime(snap);
  if (isSnapName(snap) && time !== undefined && !Number.isNaN(timestampToMs(time))) return snap;
  throw invalid(`${quoted(snap)} is not a snapshot name like TIMESTAMP.snap`);
};

/** An id that must be one, or null for the empty text. */
export const idFromWire = (id: string): BackupId | null => {
  if (id === '') return null;
  orThrow(parseBackupId(id), 'INVALID_BACKUP_ID');
  return id as BackupId;
};

export const identityFromWire = (identity: wire.SourceIdentity): SourceIdentity => ({
  fsid: requireMatch(identity.fsid, fsidPattern, 'fsid'),
  image: specFromWire(identity.image),
  imageId: requireMatch(identity.imageId, imageIdPattern, 'image id'),
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
  binaryMetadata: facts.binaryMetadata.map(({ key, value }) => ({ key: Buffer.from(key), value: Buffer.from(value) })),
  metadataOmitted: facts.metadataOmitted,
  // For people to read: a long one must not cost the backup.
  parent: (facts.parent ?? '').slice(0, maxTextLength),
});

export const sourceFromWire = (facts: wire.SourceFacts): SourceFacts => {
  if (facts.parent.length > maxTextLength) throw invalid(`the parent ${quoted(facts.parent)} is too long`);
  return {
    identity: identityFromWire(requireField(facts.identity, 'source identity')),
    snapId: numberFromWire(facts.snapId, 'a snapshot id'),
    layout: layoutFromWire(requireField(facts.layout, 'image layout')),
    metadata: facts.metadata,
    binaryMetadata: facts.binaryMetadata,
    metadataOmitted: facts.metadataOmitted,
    parent: facts.parent === '' ? null : facts.parent,
  };
};

const maxObjectSize = 64 * 1024 * 1024;
const maxStripeCount = 65_536;
const maxFeatures = 64;

/** Refuses what RBD itself would not make. */
const layoutFromWire = (layout: wire.ImageLayout): Layout => {
  const { objectSizeBytes, stripeCount, features, dataPool } = layout;
  const stripeUnitBytes = numberFromWire(layout.stripeUnitBytes, 'a stripe unit');
  if (objectSizeBytes < 4096 || objectSizeBytes > maxObjectSize || !Number.isInteger(Math.log2(objectSizeBytes))) {
    throw invalid(`an object size of ${objectSizeBytes} bytes is not RBD's`);
  }
  if (stripeUnitBytes < 1 || objectSizeBytes % stripeUnitBytes !== 0) {
    throw invalid(`a stripe unit of ${stripeUnitBytes} bytes does not divide objects of ${objectSizeBytes}`);
  }
  if (stripeCount < 1 || stripeCount > maxStripeCount) throw invalid(`a stripe count of ${stripeCount} is not RBD's`);
  if (features.length > maxFeatures) throw invalid(`${features.length} features are too many`);
  return {
    sizeBytes: sizeFromWire(layout.sizeBytes, 'an image size'),
    objectSizeBytes,
    stripeUnitBytes,
    stripeCount,
    features: features.map((feature) => requireMatch(feature, featurePattern, 'feature')),
    dataPool: dataPool === '' ? null : requireName('data pool', dataPool),
  };
};

export const backupToWire = (backup: Backup): wire.Backup => ({
  id: backup.id,
  kind: kindToWire(backup.kind),
  source: backup.source === null ? undefined : sourceToWire(backup.source),
  sizeBytes: backup.sizeBytes,
  streamBytes: backup.streamBytes,
  dataBytes: backup.dataBytes,
  streamGmac: Buffer.from(backup.streamGmac),
  committedAtMs: BigInt(backup.committedAtMs),
  baseId: backup.baseId ?? '',
  client: backup.client ?? '',
  hold: backup.hold === null ? undefined : holdToWire(backup.hold),
});

export const backupFromWire = (backup: wire.Backup): Backup => {
  const parts = orThrow(parseBackupId(backup.id), 'INVALID_BACKUP_ID');
  return {
    id: backup.id as BackupId,
    snap: parts.snap,
    kind: kindFromWire(backup.kind),
    source: backup.source === undefined ? null : sourceFromWire(backup.source),
    sizeBytes: sizeFromWire(backup.sizeBytes, 'an image size'),
    streamBytes: sizeFromWire(backup.streamBytes, 'a stream'),
    dataBytes: sizeFromWire(backup.dataBytes, 'data'),
    streamGmac: digestFromWire(backup.streamGmac),
    committedAtMs: numberFromWire(backup.committedAtMs, 'a time'),
    baseId: idFromWire(backup.baseId),
    client: backup.client === '' ? null : backup.client,
    hold: backup.hold === undefined ? null : holdFromWire(backup.hold),
  };
};

export const holdToWire = ({ untilMs, reason, sinceMs, client }: Hold): wire.Hold => ({
  untilMs: BigInt(untilMs ?? 0),
  reason,
  sinceMs: BigInt(sinceMs),
  client,
});

export const holdFromWire = (hold: wire.Hold): Hold => ({
  ...holdTermsFromWire(hold),
  sinceMs: numberFromWire(hold.sinceMs, 'a time'),
  client: hold.client,
});

export const holdTermsToWire = ({ untilMs, reason }: HoldTerms): wire.HoldTerms => ({
  untilMs: BigInt(untilMs ?? 0),
  reason,
});

export const holdTermsFromWire = ({ untilMs, reason }: wire.HoldTerms): HoldTerms => ({
  untilMs: untilMs === 0n ? null : numberFromWire(untilMs, 'a time'),
  reason,
});

export const chainToWire = (chain: Chain): wire.Chain => ({
  store: chain.store,
  name: chain.name,
  backups: chain.backups.map(backupToWire),
  active: chain.active,
  legacy: chain.legacy,
  partial: chain.partial,
});

export const chainFromWire = (chain: wire.Chain): Chain => ({
  store: requireStore(chain.store),
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
    source: backup.source ?? undefined,
  })),
});

export const usageFromWire = (usage: wire.ChainUsage): ChainUsage => {
  const source = usage.source === undefined ? null : identityFromWire(usage.source);
  return {
    store: requireStore(usage.store),
    chain: chainNameFromWire(usage.chain),
    source,
    client: usage.client === '' ? null : usage.client,
    active: usage.active,
    legacy: usage.legacy,
    backups: usage.backups.map((backup) => ({
      id: requireId(backup.backupId),
      addedBytes: sizeFromWire(backup.addedBytes, 'added data'),
      sizeBytes: sizeFromWire(backup.sizeBytes, 'an image size'),
      committedAtMs: numberFromWire(backup.committedAtMs, 'a time'),
      kind: kindFromWire(backup.kind),
      streamBytes: sizeFromWire(backup.streamBytes, 'a stream'),
      source: backup.source === undefined ? source : identityFromWire(backup.source),
    })),
  };
};

const requireId = (text: string): BackupId => {
  const id = idFromWire(text);
  if (id === null) throw missing('backup id');
  return id;
};

const kindToWire = (kind: BackupKind): WireKind => (kind === 'full' ? WireKind.FULL : WireKind.INCREMENTAL);
const kindFromWire = (kind: WireKind): BackupKind => {
  if (kind === WireKind.FULL) return 'full';
  if (kind === WireKind.INCREMENTAL) return 'incremental';
  throw invalid(`there is no backup kind ${kind}`);
};

/** Empty when it is unknown. */
const digestFromWire = (digest: Uint8Array): Uint8Array => {
  if (digest.length === 0 || digest.length === streamDigestBytes) return digest;
  throw invalid(`a GMAC has ${streamDigestBytes} bytes, not ${digest.length}`);
};

export const chainNameFromWire = (name: string): ChainName => {
  const parts = splitChainName(name);
  if (parts === undefined) throw invalid(`${quoted(name)} is not a chain's name`);
  requireName('image', parts.image);
  return parts.chain;
};

export const waitsToWire = ({ bytes, upstreamMs, downstreamMs, limitMs }: Waits): TransferWaits => ({
  streamBytes: BigInt(bytes),
  upstreamMs: BigInt(Math.round(upstreamMs)),
  downstreamMs: BigInt(Math.round(downstreamMs)),
  limitMs: BigInt(Math.round(limitMs)),
});

const maxUint32 = 2 ** 32 - 1;

/** How long an end has been silent, in milliseconds. */
export const silenceToWire = ({ silentMs }: { readonly silentMs: number }): number =>
  Math.min(Math.round(silentMs), maxUint32);

/** Null when the peer says nothing. What it says is for people to look at: nothing depends on it. */
export const waitsFromWire = (waits: TransferWaits | undefined): Waits | null =>
  waits === undefined
    ? null
    : {
        bytes: Number(waits.streamBytes),
        upstreamMs: Number(waits.upstreamMs),
        downstreamMs: Number(waits.downstreamMs),
        limitMs: Number(waits.limitMs),
      };
