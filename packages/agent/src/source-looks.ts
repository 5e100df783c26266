import { ifExists } from '@rbdferry/core/ceph/if-exists.js';
import type { CephPort, ImageListing } from '@rbdferry/core/ceph/port.js';
import { throwIfAborted, toFerryError, type FerryError } from '@rbdferry/core/errors/ferry-error.js';
import type { Backup, Chain } from '@rbdferry/core/model/chain.js';
import { imagesOf } from '@rbdferry/core/model/image-backups.js';
import { formatImageSpec, formatPoolSpec, type ImageSpec, type PoolSpec } from '@rbdferry/core/model/image-spec.js';
import { isCommon, type SourceView } from '@rbdferry/core/model/planner.js';
import type { LookPort } from './backup/look-at-source.js';
import { lineageOf } from './lineage.js';

/** Source images looked at the same time: each look costs an `rbd` process or two. */
export const looksAtOnce = 4;
/** From so many images of a pool on, one `rbd ls -l` of the pool is cheaper than a look at each of them. */
const manyImages = 16;

/** What a look at a source image came to. */
export interface Look<T> {
  /** Null when the image is not there (any more), or could not be looked at. */
  readonly source: T | null;
  /** Why it could not be looked at. */
  readonly failure: FerryError | null;
}

export interface SourceLooksDeps {
  readonly ceph: LookPort & Pick<CephPort, 'list' | 'listWithSnapshots'>;
  readonly signal: AbortSignal;
}

/** Backups by the name of their snapshot, without those of the older tool, which nothing builds on. */
export type BackupsByName = ReadonlyMap<string, readonly Backup[]>;

export const backupsByName = (chains: readonly Chain[]): BackupsByName => {
  const named = new Map<string, Backup[]>();
  for (const { legacy, backups } of chains) {
    if (legacy) continue;
    for (const backup of backups) {
      const others = named.get(backup.snap);
      if (others === undefined) named.set(backup.snap, [backup]);
      else others.push(backup);
    }
  }
  return named;
};

/** The backups whose snapshots an image still has: what `commonBackups` finds, without looking at each backup there is. */
export const presentOn = (source: SourceView, backups: BackupsByName): Backup[] =>
  source.snapshots.flatMap(({ name }) => (backups.get(name) ?? []).filter((backup) => isCommon(backup, source)));

/** A pool's images; of those that cannot be opened `rbd ls -l` may tell nothing. */
interface PoolListing {
  readonly names: ReadonlySet<string>;
  readonly images: ReadonlyMap<string, ImageListing>;
}

/**
 * Looks at each source image once, or at its whole pool. What cannot be looked at is no failure of whoever asks, and a cluster that does
 * not answer is waited for once.
 */
export class SourceLooks {
  readonly #deps: SourceLooksDeps;
  #crowded: ReadonlySet<string> = new Set();
  readonly #images = new Map<string, Promise<Look<SourceView>>>();
  readonly #restored = new Map<string, Promise<Look<SourceView>>>();
  readonly #pools = new Map<string, Promise<PoolListing | null>>();
  /** Set once the cluster did not answer: then nobody waits for it again. */
  #away: FerryError | null = null;

  constructor(deps: SourceLooksDeps) {
    this.#deps = deps;
  }

  /** The images of these chains are going to be asked about: from now on a pool with many of them is listed as a whole. */
  expect(chains: readonly Chain[]): void {
    this.#crowded = crowdedPools(chains);
  }

  /** Looks at an image of which it is known before its chains are that it will be asked about. */
  begin(image: ImageSpec): void {
    void this.#alone(image).catch(() => {});
  }

  /**
   * The image with its snapshots, good for {@link isCommon} of these backups. Whether a restore made it, which is written in its image-meta,
   * is asked only when it has a snapshot of the name of a backup and of another id.
   */
  async view(image: ImageSpec, backups: BackupsByName): Promise<Look<SourceView>> {
    const listed = this.#crowded.has(formatPoolSpec(image)) ? await this.#inListing(image) : undefined;
    const look = listed === undefined ? await this.#alone(image) : { source: listed, failure: null };
    const { source } = look;
    if (source === null || isClear(source, backups)) return look;
    return once(this.#restored, formatImageSpec(image), () => this.#withLineage(source));
  }

  #alone(image: ImageSpec): Promise<Look<SourceView>> {
    const { ceph, signal } = this.#deps;
    return once(this.#images, formatImageSpec(image), () =>
      this.#attempt(async () => {
        const seen = await ifExists(
          Promise.all([ceph.fsid({ signal }), ceph.info(image, { signal }), ceph.snapshots(image, { signal })]),
        );
        if (seen === null) return null;
        const [fsid, { id: imageId }, snapshots] = seen;
        return { identity: { fsid, image, imageId }, snapshots, lineage: null };
      }),
    );
  }

  #withLineage(source: SourceView): Promise<Look<SourceView>> {
    const { ceph, signal } = this.#deps;
    const { image, imageId } = source.identity;
    return this.#attempt(async () => {
      const entries = await ifExists(ceph.metadataEntries(image, imageId, { signal }));
      return entries === null ? null : { ...source, lineage: lineageOf(entries) };
    });
  }

  /** Null when the image is not there; undefined when the listing does not say. */
  async #inListing(image: ImageSpec): Promise<SourceView | null | undefined> {
    const { ceph, signal } = this.#deps;
    const pool = await once(this.#pools, formatPoolSpec(image), () => this.#listPool(image));
    const found = pool?.images.get(image.image);
    if (found === undefined) return pool === null || pool.names.has(image.image) ? undefined : null;
    const fsid = await this.#attempt(() => ceph.fsid({ signal }));
    if (fsid.source === null) return undefined;
    return { identity: { fsid: fsid.source, image, imageId: found.id }, snapshots: found.snapshots, lineage: null };
  }

  /** Null when the pool cannot be listed as a whole: `rbd ls -l` may fail for one image that cannot be opened. */
  async #listPool({ pool, namespace }: PoolSpec): Promise<PoolListing | null> {
    const { ceph, signal } = this.#deps;
    const where = { pool, namespace };
    const { source, failure } = await this.#attempt(() =>
      ifExists(Promise.all([ceph.list(where, { signal }), ceph.listWithSnapshots(where, { signal })])),
    );
    if (failure !== null) return null;
    const [names, images] = source ?? [[], []];
    return { names: new Set(names), images: new Map(images.map((image) => [image.name, image])) };
  }

  async #attempt<T>(look: () => Promise<T | null>): Promise<Look<T>> {
    if (this.#away !== null) return { source: null, failure: this.#away };
    try {
      return { source: await look(), failure: null };
    } catch (thrown) {
      throwIfAborted(this.#deps.signal);
      const failure = toFerryError(thrown);
      if (awayCodes.has(failure.code)) this.#away = failure;
      return { source: null, failure };
    }
  }
}

/** Whether ids alone say which of these backups the image has. A restored image's snapshots look like somebody else's of the same names. */
const isClear = (source: SourceView, backups: BackupsByName): boolean =>
  source.snapshots.every(({ name }) => (backups.get(name) ?? []).every((backup) => isCommon(backup, source)));

const crowdedPools = (chains: readonly Chain[]): Set<string> => {
  const images = new Map<string, Set<string>>();
  for (const spec of imagesOf(chains)) {
    const pool = formatPoolSpec(spec);
    images.set(pool, (images.get(pool) ?? new Set()).add(spec.image));
  }
  return new Set([...images].filter(([, names]) => names.size >= manyImages).map(([pool]) => pool));
};

/** What a cluster that is away is called: no other image of it will answer either. */
const awayCodes: ReadonlySet<string> = new Set(['CEPH_UNAVAILABLE', 'CEPH_TIMEOUT', 'CEPH_NOT_INSTALLED']);

const once = <T>(known: Map<string, Promise<T>>, key: string, make: () => Promise<T>): Promise<T> => {
  const value = known.get(key) ?? make();
  known.set(key, value);
  return value;
};
