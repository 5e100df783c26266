import type { CephPort, ImageListing } from '@rbdferry/core/ceph/port.js';
import type { BackupId } from '@rbdferry/core/model/backup-id.js';
import { splitChainName } from '@rbdferry/core/model/backup-id.js';
import { chainSource, sameSpec, type Chain } from '@rbdferry/core/model/chain.js';
import { formatImageSpec, formatPoolSpec, type ImageSpec, type PoolSpec } from '@rbdferry/core/model/image-spec.js';
import { commonBackups, type SourceView } from '@rbdferry/core/model/planner.js';
import { mapAhead } from '@rbdferry/core/transfer/map-ahead.js';
import { ancestorsOf, collect, lookAtSource, type LookPort, type SourceImage } from '../backup/look-at-source.js';
import { ifExists } from '../jobs/loose-ends.js';
import type { ReceiverClient } from '../receiver-client/receiver-client.js';

/** A chain, and which of its backups could still be built on. */
export interface ListedChain {
  readonly chain: Chain;
  readonly presentOnSource: readonly BackupId[];
}

export interface ListDeps {
  readonly ceph: LookPort & Pick<CephPort, 'listWithSnapshots'>;
  readonly receiver: Pick<ReceiverClient, 'chains'>;
  readonly signal: AbortSignal;
}

/** Source images looked at the same time: each look costs a few `rbd` processes. */
const looksAtOnce = 4;
/** From so many images of a pool on, one `rbd ls -l` of the pool is cheaper than a look at each of them. */
const manyImages = 16;

/** Chains of one image, or of the whole store (null). */
export async function* listBackups(
  store: string,
  image: ImageSpec | null,
  deps: ListDeps,
): AsyncGenerator<ListedChain, void, undefined> {
  const { receiver, signal } = deps;
  const looks = new SourceLooks(deps);
  const chains =
    image === null
      ? await collect(receiver.chains(store, null, { signal }))
      : await chainsOfImage(store, image, { ...deps, looks });
  looks.listWhole(crowdedPools(chains));
  yield* mapAhead(each(chains), { map: (chain) => looks.listed(chain), ahead: looksAtOnce });
}

async function* each<T>(items: Iterable<T>): AsyncGenerator<T, void, undefined> {
  yield* items;
}

/** Chains that belong to the image, hold backups of it, or are the older tool's of that name. */
const chainsOfImage = async (
  store: string,
  image: ImageSpec,
  { receiver, signal, looks }: ListDeps & { readonly looks: SourceLooks },
): Promise<Chain[]> => {
  const [named, source] = await Promise.all([
    collect(receiver.chains(store, image.image, { signal })),
    looks.source(image),
  ]);
  const ancestors = source === null ? [] : await ancestorsOf(source, store, receiver, { signal });
  return [...named, ...ancestors].filter((chain) =>
    chain.legacy
      ? splitChainName(chain.name)?.image === image.image
      : chain.backups.some((backup) => backup.source !== null && sameSpec(backup.source.identity.image, image)),
  );
};

const crowdedPools = (chains: readonly Chain[]): Set<string> => {
  const images = new Map<string, Set<string>>();
  for (const chain of chains) {
    const spec = chainSource(chain)?.image;
    if (spec === undefined) continue;
    const pool = formatPoolSpec(spec);
    images.set(pool, (images.get(pool) ?? new Set()).add(spec.image));
  }
  return new Set([...images].filter(([, names]) => names.size >= manyImages).map(([pool]) => pool));
};

/** Looks at each source image once, or at its whole pool. */
class SourceLooks {
  readonly #deps: ListDeps;
  #crowded: ReadonlySet<string> = new Set();
  readonly #images = new Map<string, Promise<SourceImage | null>>();
  readonly #pools = new Map<string, Promise<ReadonlyMap<string, ImageListing>>>();

  constructor(deps: ListDeps) {
    this.#deps = deps;
  }

  /** From now on these pools are listed instead of looking at their images. */
  listWhole(pools: ReadonlySet<string>): void {
    this.#crowded = pools;
  }

  /** Null when the image is not there (any more). */
  source(image: ImageSpec): Promise<SourceImage | null> {
    const { ceph, signal } = this.#deps;
    return once(this.#images, formatImageSpec(image), () => ifExists(lookAtSource(ceph, image, { signal })));
  }

  async listed(chain: Chain): Promise<ListedChain> {
    return { chain, presentOnSource: (await this.#common(chain)).map((backup) => backup.id) };
  }

  async #common(chain: Chain) {
    const image = chainSource(chain)?.image;
    if (image === undefined) return [];
    if (!this.#crowded.has(formatPoolSpec(image))) return commonIn(await this.#look(image), chain);
    const listed = await this.#lookInListing(image);
    // A listing does not say of a restored image that it is one: its snapshots look like somebody else's of the same names.
    const names = new Set(listed?.snapshots.map((snapshot) => snapshot.name));
    const common = commonIn(listed, chain);
    const isClear = chain.backups.every((backup) => !names.has(backup.snap) || common.includes(backup));
    return isClear ? common : commonIn(await this.#look(image), chain);
  }

  async #look(image: ImageSpec): Promise<SourceView | null> {
    return (await this.source(image))?.view ?? null;
  }

  async #lookInListing(image: ImageSpec): Promise<SourceView | null> {
    const { ceph, signal } = this.#deps;
    const pool = await once(this.#pools, formatPoolSpec(image), () => this.#listPool(image));
    const found = pool.get(image.image);
    if (found === undefined) return null;
    const identity = { fsid: await ceph.fsid({ signal }), image, imageId: found.id };
    return { identity, snapshots: found.snapshots, lineage: null };
  }

  async #listPool({ pool, namespace }: PoolSpec): Promise<ReadonlyMap<string, ImageListing>> {
    const { ceph, signal } = this.#deps;
    const images = (await ifExists(ceph.listWithSnapshots({ pool, namespace }, { signal }))) ?? [];
    return new Map(images.map((image) => [image.name, image]));
  }
}

const commonIn = (source: SourceView | null, chain: Chain) => (source === null ? [] : commonBackups(source, [chain]));

const once = <T>(known: Map<string, Promise<T>>, key: string, make: () => Promise<T>): Promise<T> => {
  const value = known.get(key) ?? make();
  known.set(key, value);
  return value;
};
