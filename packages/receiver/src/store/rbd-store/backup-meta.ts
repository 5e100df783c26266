import { FerryError } from '@rbdferry/core/errors/ferry-error.js';
import { maxMetadataValueBytes } from '@rbdferry/core/ceph/port.js';
import type { BackupId, SnapName } from '@rbdferry/core/model/backup-id.js';
import type { Backup, SourceFacts } from '@rbdferry/core/model/chain.js';
import type { Hold } from '@rbdferry/core/model/hold.js';
import { fitMetadata, maxKeptMetadataBytes } from '@rbdferry/core/model/image-meta.js';
import { z } from 'zod';

/**
 * What the receiver writes into a backup image's image-meta. docs/on-disk.md describes it for operators; keep it readable
 * by older and newer releases: add fields, never change one.
 */

/** State of the image's head. Its presence says that the image is ours and not the older tool's. */
export const stateKey = 'rbdferry.state';
const backupKeyPrefix = 'rbdferry.backup.';

/** Facts of one backup; written before its snapshot exists, and a backup only together with it. */
export const backupKey = (snap: SnapName): string => `${backupKeyPrefix}${snap}`;

/** The snapshot whose facts this key holds, or undefined for another key. */
export const snapOfBackupKey = (key: string): string | undefined =>
  key.startsWith(backupKeyPrefix) ? key.slice(backupKeyPrefix.length) : undefined;

/** Keys of facts, of usage, or of holds, whose snapshot is not among these: they belong to nothing. */
export const orphanKeys = (keys: Iterable<string>, snaps: ReadonlySet<string>): string[] =>
  [...keys].filter((key) =>
    [backupKeyPrefix, usageKeyPrefix, holdKeyPrefix].some(
      (prefix) => key.startsWith(prefix) && !snaps.has(key.slice(prefix.length)),
    ),
  );

const usageKeyPrefix = 'rbdferry.usage.';

/** What a backup added to its chain; see usage.ts. */
export const usageKey = (snap: SnapName): string => `${usageKeyPrefix}${snap}`;

const holdKeyPrefix = 'rbdferry.hold.';

/** Says that a backup must not be removed. A key of its own, so that nothing else that is written of the backup can lose it. */
export const holdKey = (snap: SnapName): string => `${holdKeyPrefix}${snap}`;

const holdSchema = z.object({
  v: z.literal(1),
  /** Null when it stands until it is released. */
  until: z.iso.datetime().nullable(),
  reason: z.string(),
  since: z.iso.datetime(),
  client: z.string(),
});

export const encodeHold = ({ untilMs, reason, sinceMs, client }: Hold): string => {
  const until = untilMs === null ? null : new Date(untilMs).toISOString();
  const hold: z.input<typeof holdSchema> = { v: 1, until, reason, since: new Date(sinceMs).toISOString(), client };
  return JSON.stringify(hold);
};

/** One that this release cannot read (a newer one wrote it, or somebody by hand) stands until it is released: it was to keep the backup. */
export const decodeHold = (text: string): Hold => {
  const hold = parseJson(text, holdSchema);
  if (hold === undefined) return { untilMs: null, reason: 'this release cannot read the hold', sinceMs: 0, client: '' };
  const { until, since, reason, client } = hold;
  return { untilMs: until === null ? null : Date.parse(until), reason, sinceMs: Date.parse(since), client };
};

const usageSchema = z.object({
  v: z.literal(1),
  /** The snapshot it was compared with; null for the first of the chain. */
  previous: z.string().nullable(),
  addedBytes: z.string().regex(/^\d+$/).transform(BigInt),
});

export const encodeUsage = (usage: { previous: SnapName | null; addedBytes: bigint }): string =>
  JSON.stringify({ v: 1, previous: usage.previous, addedBytes: String(usage.addedBytes) });

export const decodeUsage = (text: string): { previous: string | null; addedBytes: bigint } | undefined =>
  parseJson(text, usageSchema);

const stateSchema = z.discriminatedUnion('kind', [
  /** The head equals this snapshot. */
  z.object({ kind: z.literal('clean'), v: z.literal(1), head: z.string() }),
  /** An import is under way, or broke off: the head is worth nothing. */
  z.object({
    kind: z.literal('receiving'),
    v: z.literal(1),
    snap: z.string(),
    base: z.string().nullable(),
    client: z.string(),
    since: z.string(),
  }),
  /** The whole chain was asked to go, and does not come back: what is left of it is removed by whoever looks next. */
  z.object({
    kind: z.literal('deleting'),
    v: z.literal(1),
    client: z.string(),
    since: z.string(),
    /** The text that stood here before, for a chain of which something cannot go; null in a chain of the older tool. */
    before: z.string().nullable(),
  }),
]);

/** `unknown`: a text that this release cannot read (a newer one wrote it). Nothing is built on it and nothing removed. */
export type HeadState = z.infer<typeof stateSchema> | { readonly kind: 'unknown' };
export type KnownHeadState = z.infer<typeof stateSchema>;

const bytes = z.string().regex(/^\d+$/).transform(BigInt);

const sourceSchema = z.object({
  fsid: z.string(),
  pool: z.string(),
  namespace: z.string(),
  image: z.string(),
  imageId: z.string(),
  snapId: z.number(),
  sizeBytes: bytes,
  objectSizeBytes: z.number(),
  stripeUnitBytes: z.number(),
  stripeCount: z.number(),
  features: z.array(z.string()),
  dataPool: z.string().nullable(),
  parent: z.string().nullable(),
  metadata: z.record(z.string(), z.string()),
  /** Entries of key and value, in base64, that are no text; left out when there are none. */
  binaryMetadata: z.array(z.object({ key: z.base64(), value: z.base64() })).optional(),
  metadataOmitted: z.boolean(),
});

const factsSchema = z.object({
  v: z.literal(1),
  kind: z.enum(['full', 'incremental']),
  base: z.string().nullable(),
  client: z.string(),
  committedAt: z.iso.datetime(),
  streamBytes: bytes,
  dataBytes: bytes,
  /** Facts that were written before 2026-11-27 have `streamSha256` instead, which nobody needs. */
  streamGmac: z
    .string()
    .regex(/^[0-9a-f]{32}$/)
    .optional(),
  source: sourceSchema,
});

type FactsJson = z.input<typeof factsSchema>;

const parseJson = <T>(text: string, schema: z.ZodType<T>): T | undefined => {
  try {
    return schema.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
};

export const encodeState = (state: KnownHeadState): string => JSON.stringify(state);

export const decodeState = (text: string): HeadState => parseJson(text, stateSchema) ?? { kind: 'unknown' };

const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64');

const encodeMetadata = ({
  metadata,
  binaryMetadata,
}: SourceFacts): Pick<FactsJson['source'], 'metadata' | 'binaryMetadata'> => ({
  metadata: { ...metadata },
  ...(binaryMetadata.length === 0
    ? {}
    : { binaryMetadata: binaryMetadata.map(({ key, value }) => ({ key: base64(key), value: base64(value) })) }),
});

/** Drops the user's image-meta when it does not fit into one value. Agents do so themselves, before they send it. */
export const fitSource = (source: SourceFacts): SourceFacts => {
  const { metadata, binaryMetadata } = source;
  const fitted = fitMetadata({ metadata, binaryMetadata }, maxKeptMetadataBytes);
  return { ...source, ...fitted, metadataOmitted: source.metadataOmitted || fitted.metadataOmitted };
};

const encodeSource = ({ identity, snapId, layout, ...rest }: SourceFacts): FactsJson['source'] => ({
  fsid: identity.fsid,
  ...identity.image,
  imageId: identity.imageId,
  snapId,
  ...layout,
  features: [...layout.features],
  sizeBytes: String(layout.sizeBytes),
  parent: rest.parent,
  ...encodeMetadata({ identity, snapId, layout, ...rest }),
  metadataOmitted: rest.metadataOmitted,
});

export const encodeFacts = (backup: Backup & { source: SourceFacts; client: string }, base: string | null): string => {
  const facts: FactsJson = {
    v: 1,
    kind: backup.kind,
    base,
    client: backup.client,
    committedAt: new Date(backup.committedAtMs).toISOString(),
    streamBytes: String(backup.streamBytes),
    dataBytes: String(backup.dataBytes),
    streamGmac: Buffer.from(backup.streamGmac).toString('hex'),
    source: encodeSource(backup.source),
  };
  const text = JSON.stringify(facts);
  if (Buffer.byteLength(text) > maxMetadataValueBytes) {
    throw new FerryError(
      'INVALID_REQUEST',
      `the facts of the backup take ${text.length} bytes, too many for image-meta`,
    );
  }
  return text;
};

/** A backup from its facts, or undefined when the text is none of ours. `idOf` makes ids of snapshot names of this chain. */
export const decodeFacts = (
  text: string,
  snap: SnapName,
  idOf: (snap: SnapName) => BackupId,
): (Backup & { source: SourceFacts }) | undefined => {
  const facts = parseJson(text, factsSchema);
  if (facts === undefined) return undefined;
  const { source } = facts;
  return {
    id: idOf(snap),
    snap,
    kind: facts.kind,
    sizeBytes: source.sizeBytes,
    streamBytes: facts.streamBytes,
    dataBytes: facts.dataBytes,
    streamGmac: Buffer.from(facts.streamGmac ?? '', 'hex'),
    committedAtMs: Date.parse(facts.committedAt),
    baseId: facts.base === null ? null : idOf(facts.base as SnapName),
    client: facts.client,
    hold: null,
    source: {
      identity: {
        fsid: source.fsid,
        image: { pool: source.pool, namespace: source.namespace, image: source.image },
        imageId: source.imageId,
      },
      snapId: source.snapId,
      layout: {
        sizeBytes: source.sizeBytes,
        objectSizeBytes: source.objectSizeBytes,
        stripeUnitBytes: source.stripeUnitBytes,
        stripeCount: source.stripeCount,
        features: source.features,
        dataPool: source.dataPool,
      },
      metadata: source.metadata,
      binaryMetadata: (source.binaryMetadata ?? []).map(({ key, value }) => ({
        key: Buffer.from(key, 'base64'),
        value: Buffer.from(value, 'base64'),
      })),
      metadataOmitted: source.metadataOmitted,
      parent: source.parent,
    },
  };
};
