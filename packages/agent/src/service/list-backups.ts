import { ifExists } from '@rbdferry/core/ceph/if-exists.js';
import type { CephPort, ImageListing } from '@rbdferry/core/ceph/port.js';
import { throwIfAborted, toFerryError, type FerryError } from '@rbdferry/core/errors/ferry-error.js';
import type { BackupId } from '@rbdferry/core/model/backup-id.js';
import { splitChainName } from '@rbdferry/core/model/backup-id.js';
import { markActive, type Backup, type Chain } from '@rbdferry/core/model/chain.js';
import { imagesOf, ofImage } from '@rbdferry/core/model/image-backups.js';
import { formatImageSpec, formatPoolSpec, type ImageSpec, type PoolSpec } from '@rbdferry/core/model/image-spec.js';
import { commonBackups, type SourceView } from '@rbdferry/core/model/planner.js';
import { mapAhead } from '@rbdferry/core/transfer/map-ahead.js';
import type { UnreadableChain } from '@rbdferry/core/wire/unreadable-chain.js';
import { ancestorsOf, collect, lookAtSource, type LookPort, type SourceImage } from '../backup/look-at-source.js';
import type { ReceiverClient } from '../receiver-client/receiver-client.js';

/** A chain, and which of its backups could still be built on. */
export interface ListedChain {
  readonly kind: 'chain';
  readonly chain: Chain;
  readonly presentOnSource: readonly BackupId[];
  /** Why that is not known of all of them; null when it is. */
  readonly sourceUnknown: FerryError | null;
}

/** What a listing tells of: chains, and at its end those that are there and cannot be read. */
export type Listed = ListedChain | { readonly kind: 'unreadable'; readonly chain: UnreadableChain };

export interface ListDeps {
  readonly ceph: LookPort & Pick<CephPort, 'list' | 'listWithSnapshots'>;
  readonly receiver: Pick<ReceiverClient, 'chains'>;
  readonly signal: AbortSignal;
}

/** Source images looked at the same time: each look costs a few `rbd` processes. */
const looksAtOnce = 4;
/** From so many images of a pool on, one `rbd ls -l` of the pool is cheaper than a look at each of them. */
const manyImages = 16;

/**
 * Chains of one image (with its own backups and no others'), or of the whole store (null).
 *
 * @throws the failure of the first chain when none of them could be read
 */
export async function* listBackups(
  store: string,
  image: ImageSpec | null,
  deps: ListDeps,
): AsyncGenerator<Listed, void, undefined> {
  const { receiver, signal } = deps;
  const looks = new SourceLooks(deps);
  const unreadable: UnreadableChain[] = [];
  const onUnreadable = (chain: UnreadableChain) => {
    unreadable.push(chain);
  };
  const chains =
    image === null
      ? await collect(receiver.chains(store, null, { signal, onUnreadable }))
      : await chainsOfImage(store, image, { ...deps, looks, onUnreadable });
  if (chains.length === 0 && unreadable[0] !== undefined) throw unreadable[0].error;
  looks.listWhole(crowdedPools(chains));
  const shown = image === null ? chains : ownOf(image, chains);
  const pairs = chains.flatMap((whole, index) => (shown[index] === undefined ? [] : [{ whole, shown: shown[index] }]));
  yield* mapAhead(each(pairs), {
    map: async ({ whole, shown }) => ({ kind: 'chain' as const, chain: shown, ...(await looks.presence(whole)) }),
    ahead: looksAtOnce,
  });
  for (const chain of unreadable) yield { kind: 'unreadable', chain };
}

async function* each<T>(items: Iterable<T>): AsyncGenerator<T, void, undefined> {
  yield* items;
}

/** Chains that hold backups of the image, or are the older tool's of that name. */
const chainsOfImage = async (
  store: string,
  image: ImageSpec,
  {
    receiver,
    signal,
    looks,
    onUnreadable,
  }: ListDeps & {
    readonly looks: SourceLooks;
    readonly onUnreadable: (chain: UnreadableChain) => void;
  },
): Promise<Chain[]> => {
  const [named, { source }] = await Promise.all([
    collect(receiver.chains(store, image.image, { signal, onUnreadable })),
    looks.source(image),
  ]);
  const known = new Set(named.map(({ name }) => name));
  const ancestors = source === null ? [] : await ancestorsOf(source, store, receiver, { signal, onUnreadable });
  return [...named, ...ancestors.filter(({ name }) => !known.has(name))].filter((chain) =>
    chain.legacy ? splitChainName(chain.name)?.image === image.image : ofImage([chain], image).length > 0,
  );
};

/** What of these chains is the image's own: in the same order. */
const ownOf = (image: ImageSpec, chains: readonly Chain[]): Chain[] =>
  markActive(chains.map((chain) => (chain.legacy ? chain : (ofImage([chain], image)[0] ?? chain))));

const crowdedPools = (chains: readonly Chain[]): Set<string> => {
  const images = new Map<string, Set<string>>();
  for (const spec of imagesOf(chains)) {
    const pool = formatPoolSpec(spec);
    images.set(pool, (images.get(pool) ?? new Set()).add(spec.image));
  }
  return new Set([...images].filter(([, names]) => names.size >= manyImages).map(([pool]) => pool));
};

/** A pool's images; of those that cannot be opened `rbd ls -l` may tell nothing. */
interface PoolListing {
  readonly names: ReadonlySet<string>;
  readonly images: ReadonlyMap<string, ImageListing>;
}

/** What a look at a source image came to. */
interface Look<T> {
  /** Null when the image is not there (any more), or could not be looked at. */
  readonly source: T | null;
  /** Why it could not be looked at. */
  readonly failure: FerryError | null;
}

/** Looks at each source image once, or at its whole pool. What cannot be looked at is no failure of the listing. */
class SourceLooks {
  readonly #deps: ListDeps;
  #crowded: ReadonlySet<string> = new Set();
  readonly #images = new Map<string, Promise<Look<SourceImage>>>();
  readonly #pools = new Map<string, Promise<PoolListing | null>>();
  /** Set once the cluster did not answer: then nobody waits for it again. */
  #away: FerryError | null = null;

  constructor(deps: ListDeps) {
    this.#deps = deps;
  }

  /** From now on these pools are listed instead of looking at their images. */
  listWhole(pools: ReadonlySet<string>): void {
    this.#crowded = pools;
  }

  source(image: ImageSpec): Promise<Look<SourceImage>> {
    const { ceph, signal } = this.#deps;
    return once(this.#images, formatImageSpec(image), () =>
      this.#attempt(() => ifExists(lookAtSource(ceph, image, { signal }))),
    );
  }

  /** Which backups of the chain, of whatever image they are, still have their snapshots on the source cluster. */
  async presence(chain: Chain): Promise<Pick<ListedChain, 'presentOnSource' | 'sourceUnknown'>> {
    const present = new Set<BackupId>();
    let sourceUnknown: FerryError | null = null;
    for (const image of imagesOf([chain])) {
      const { source, failure } = await this.#common(image, chain);
      sourceUnknown ??= failure;
      for (const { id } of source ?? []) present.add(id);
    }
    return { presentOnSource: chain.backups.flatMap(({ id }) => (present.has(id) ? [id] : [])), sourceUnknown };
  }

  async #common(image: ImageSpec, chain: Chain): Promise<Look<Backup[]>> {
    const listed = this.#crowded.has(formatPoolSpec(image)) ? await this.#lookInListing(image) : undefined;
    if (listed !== undefined) {
      // A listing does not say of a restored image that it is one: its snapshots look like somebody else's of the same names.
      const names = new Set(listed?.snapshots.map((snapshot) => snapshot.name));
      const common = commonIn(listed, chain);
      const isClear = chain.backups.every((backup) => !names.has(backup.snap) || common.includes(backup));
      if (isClear) return { source: common, failure: null };
    }
    const { source, failure } = await this.source(image);
    return { source: commonIn(source?.view ?? null, chain), failure };
  }

  /** Null when the image is not there; undefined when the listing does not say. */
  async #lookInListing(image: ImageSpec): Promise<SourceView | null | undefined> {
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

/** What a cluster that is away is called: no other image of it will answer either. */
const awayCodes: ReadonlySet<string> = new Set(['CEPH_UNAVAILABLE', 'CEPH_TIMEOUT', 'CEPH_NOT_INSTALLED']);

const commonIn = (source: SourceView | null, chain: Chain): Backup[] =>
  source === null ? [] : commonBackups(source, [chain]);

const once = <T>(known: Map<string, Promise<T>>, key: string, make: () => Promise<T>): Promise<T> => {
  const value = known.get(key) ?? make();
  known.set(key, value);
  return value;
};
