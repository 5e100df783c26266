import { ifExists } from '@rbdferry/core/ceph/if-exists.js';
import type { CephPort } from '@rbdferry/core/ceph/port.js';
import { throwIfAborted, toFerryError, type FerryError } from '@rbdferry/core/errors/ferry-error.js';
import type { Chain } from '@rbdferry/core/model/chain.js';
import { formatImageRef, formatImageSpec, type ImageById, type ImageSpec } from '@rbdferry/core/model/image-spec.js';
import type { SourceView } from '@rbdferry/core/model/planner.js';
import { mapAhead } from '@rbdferry/core/transfer/map-ahead.js';
import { backupsByName, looksAtOnce, SourceLooks, type BackupsByName } from '../source-looks.js';

/** A source image of backups in a store, as it is now; `view` is null when there is none of that name. */
interface Seen {
  readonly store: string;
  readonly spec: ImageSpec;
  readonly view: SourceView | null;
}

type SeenThere = Seen & { readonly view: SourceView };

/** What deletion knows of the source cluster: which snapshots were made for which backups. Looked at once, before anything goes. */
export interface SourcesSeen {
  readonly seen: readonly Seen[];
  /** Those that are there, by their ids, and by the id of the backup that a restore made them of. */
  readonly byId: ReadonlyMap<string, readonly SeenThere[]>;
  /** Names of the snapshots of images that go by another name now, or are gone (none), by {@link keyOf}. */
  readonly elsewhere: ReadonlyMap<string, ReadonlySet<string>>;
  /** What could not be looked at, as sentences for the user. */
  readonly problems: readonly string[];
}

interface Deps {
  readonly ceph: CephPort;
  readonly signal: AbortSignal;
}

/**
 * Looks at the images that backups of these chains were made of: once for each image, or once for a pool with many. A source that cannot be
 * asked hinders no deletion.
 *
 * @param all every chain that the looks will be compared with, these and others
 */
export const lookAtSources = async (
  chains: readonly Chain[],
  all: readonly Chain[],
  deps: Deps,
): Promise<SourcesSeen> => {
  const looks = new SourceLooks(deps);
  looks.expect(chains);
  const backups = backupsByStore(all);
  const problems: string[] = [];
  const seen: Seen[] = [];
  const looking = mapAhead(sourcesOf(chains), {
    map: async ({ store, spec }) => ({ store, spec, ...(await looks.view(spec, backups(store))) }),
    ahead: looksAtOnce,
  });
  for await (const { store, spec, source, failure } of looking) {
    if (failure === null) seen.push({ store, spec, view: source });
    else problems.push(problemOf(formatImageSpec(spec), failure));
  }
  const elsewhere = problems.length > 0 ? [] : await lookElsewhere(chains, seen, problems, deps);
  return { seen, byId: byIdOf(seen), elsewhere: new Map(elsewhere), problems };
};

const problemOf = (what: string, { code, message }: FerryError): string =>
  `${what} could not be looked at (${code}: ${message})`;

/** What has become of images whose name is another one's by now, or nobody's: by their ids. */
const lookElsewhere = async (
  chains: readonly Chain[],
  seen: readonly Seen[],
  problems: string[],
  { ceph, signal }: Deps,
): Promise<[string, ReadonlySet<string>][]> => {
  const known = new Set(seen.map(({ view }) => view?.identity.imageId));
  const looking = mapAhead(
    identitiesOf(chains).filter(({ imageId }) => !known.has(imageId)),
    {
      map: async (ref) => {
        try {
          const snapshots = (await ifExists(ceph.snapshots(ref, { signal }))) ?? [];
          return { ref, names: new Set(snapshots.map(({ name }) => name)) };
        } catch (thrown) {
          throwIfAborted(signal);
          return { ref, failure: toFerryError(thrown) };
        }
      },
      ahead: looksAtOnce,
    },
  );
  const elsewhere: [string, ReadonlySet<string>][] = [];
  for await (const { ref, names, failure } of looking) {
    if (failure === undefined) elsewhere.push([keyOf(ref), names]);
    else problems.push(problemOf(formatImageRef(ref), failure));
  }
  return elsewhere;
};

/** An image of the source cluster, whatever it is called. */
export const keyOf = ({ pool, namespace, imageId }: ImageById): string => JSON.stringify([pool, namespace, imageId]);

const byIdOf = (all: readonly Seen[]): SourcesSeen['byId'] => {
  const byId = new Map<string, SeenThere[]>();
  for (const { store, spec, view } of all) {
    if (view === null) continue;
    const there = { store, spec, view };
    const ids = [view.identity.imageId, ...(view.lineage === null ? [] : [view.lineage.backupId])];
    for (const id of ids) byId.set(id, [...(byId.get(id) ?? []), there]);
  }
  return byId;
};

/** Made for a store when it is asked for first. */
export const backupsByStore = (chains: readonly Chain[]): ((store: string) => BackupsByName) => {
  const stores = new Map<string, BackupsByName>();
  return (store) => {
    const known = stores.get(store) ?? backupsByName(chains.filter((chain) => chain.store === store));
    stores.set(store, known);
    return known;
  };
};

/** The images that backups of these chains were made of, by id. */
const identitiesOf = (chains: readonly Chain[]): ImageById[] => {
  const refs = chains.flatMap(({ backups }) =>
    backups.flatMap(({ source }) => {
      if (source === null) return [];
      const { image, imageId } = source.identity;
      return [{ pool: image.pool, namespace: image.namespace, imageId }];
    }),
  );
  return [...new Map(refs.map((ref) => [keyOf(ref), ref])).values()];
};

/** Images that backups of these chains were made of. A chain may be of several: a restored image goes on with it under its own name. */
const sourcesOf = (chains: readonly Chain[]): { store: string; spec: ImageSpec }[] => {
  const sources = new Map<string, { store: string; spec: ImageSpec }>();
  for (const { store, backups } of chains) {
    for (const { source } of backups) {
      if (source === null) continue;
      const spec = source.identity.image;
      sources.set(`${store} ${formatImageSpec(spec)}`, { store, spec });
    }
  }
  return [...sources.values()];
};
