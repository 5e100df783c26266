import { ifExists } from '@rbdferry/core/ceph/if-exists.js';
import type { CephPort } from '@rbdferry/core/ceph/port.js';
import { toFerryError } from '@rbdferry/core/errors/ferry-error.js';
import type { BackupId } from '@rbdferry/core/model/backup-id.js';
import type { Backup, Chain } from '@rbdferry/core/model/chain.js';
import { formatImageRef, formatImageSpec, type ImageById, type ImageSpec } from '@rbdferry/core/model/image-spec.js';
import { commonBackups, newestCommon } from '@rbdferry/core/model/planner.js';
import { lookAtSource, type SourceImage } from '../backup/look-at-source.js';
import type { SourceSnapshot } from './deletion-end.js';

/** A source image of backups in a store, as it is now; `image` is null when there is none of that name. */
interface Look {
  readonly store: string;
  readonly spec: ImageSpec;
  readonly image: SourceImage | null;
}

/** What deletion knows of the source cluster: which snapshots were made for which backups. Looked at once, before anything goes. */
export interface SourceLooks {
  readonly looks: readonly Look[];
  /** Names of the snapshots of images that go by another name now, or are gone (none), by {@link keyOf}. */
  readonly elsewhere: ReadonlyMap<string, ReadonlySet<string>>;
  /** What could not be looked at, as sentences for the user. */
  readonly problems: readonly string[];
}

/** Looks at the images that backups of these chains were made of. A source that cannot be asked hinders no deletion. */
export const lookAtSources = async (
  chains: readonly Chain[],
  { ceph, signal }: { readonly ceph: CephPort; readonly signal: AbortSignal },
): Promise<SourceLooks> => {
  const looks: Look[] = [];
  const elsewhere = new Map<string, ReadonlySet<string>>();
  const problems: string[] = [];
  const attempt = async (what: string, look: () => Promise<unknown>): Promise<void> => {
    try {
      await look();
    } catch (thrown) {
      const { code, message } = toFerryError(thrown);
      if (signal.aborted) throw thrown;
      problems.push(`${what} could not be looked at (${code}: ${message})`);
    }
  };
  for (const { store, spec } of sourcesOf(chains)) {
    await attempt(formatImageSpec(spec), async () => {
      looks.push({ store, spec, image: await ifExists(lookAtSource(ceph, spec, { signal })) });
    });
  }
  if (problems.length > 0) return { looks, elsewhere, problems };
  const known = new Set(looks.map(({ image }) => image?.info.id));
  for (const ref of identitiesOf(chains)) {
    if (known.has(ref.imageId)) continue;
    await attempt(formatImageRef(ref), async () => {
      const snapshots = (await ifExists(ceph.snapshots(ref, { signal }))) ?? [];
      elsewhere.set(keyOf(ref), new Set(snapshots.map(({ name }) => name)));
    });
  }
  return { looks, elsewhere, problems };
};

const keyOf = ({ pool, namespace, imageId }: ImageById): string => JSON.stringify([pool, namespace, imageId]);

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

/**
 * The source snapshots of backups: those that a look has shown, and where no look was possible or the name is another image's by now,
 * the one that the backup itself recorded, which may be gone already.
 */
export const snapshotsOf = (
  backups: readonly Backup[],
  store: string,
  { looks, elsewhere }: SourceLooks,
): SourceSnapshot[] =>
  backups.flatMap((backup) => {
    if (backup.source === null) return [];
    const { image, imageId } = backup.source.identity;
    const ofStore = looks.filter((look) => look.store === store);
    const seen = ofStore.flatMap((look) =>
      look.image !== null && isCommon(backup, look.image) ? [{ ...look.spec, imageId: look.image.info.id }] : [],
    );
    const recorded = { pool: image.pool, namespace: image.namespace, imageId };
    const isKnown = ofStore.some((look) => look.image?.info.id === imageId);
    const mayBeElsewhere = !isKnown && (elsewhere.get(keyOf(recorded))?.has(backup.snap) ?? true);
    const places = mayBeElsewhere ? [...seen, recorded] : seen;
    return places.map(({ pool, namespace, imageId: id }) => ({
      backupId: backup.id,
      pool,
      namespace,
      imageId: id,
      snap: backup.snap,
    }));
  });

const isCommon = (backup: Backup, { view }: SourceImage): boolean => commonBackups(view, [chainOf(backup)]).length > 0;

const chainOf = (backup: Backup): Chain => ({
  store: '',
  name: backup.id.slice(backup.id.indexOf('/') + 1, backup.id.lastIndexOf('@')) as Chain['name'],
  backups: [backup],
  active: false,
  legacy: false,
  partial: false,
});

/** Removes them, by image id: an image that is renamed or in the trash meanwhile is found. Those that are not there are fine. */
export const removeSourceSnapshots = async (
  ceph: Pick<CephPort, 'removeSnapshot'>,
  snapshots: readonly SourceSnapshot[],
): Promise<void> => {
  for (const { pool, namespace, imageId, snap } of snapshots) {
    await ifExists(ceph.removeSnapshot({ pool, namespace, imageId }, snap));
  }
};

/** What the deletion means for the next backup of each image that had a snapshot of a backup that is gone. */
export const nextBackups = (chains: readonly Chain[], gone: ReadonlySet<BackupId>, { looks }: SourceLooks): string[] =>
  looks.flatMap(({ store, spec, image }) => {
    if (image === null) return [];
    const ofStore = chains.filter((chain) => chain.store === store);
    if (!commonBackups(image.view, ofStore).some((backup) => gone.has(backup.id))) return [];
    const left = newestCommon(
      image.view,
      ofStore.map((chain) => ({ ...chain, backups: chain.backups.filter((backup) => !gone.has(backup.id)) })),
    );
    const name = formatImageSpec(spec);
    return left === null
      ? [`the next backup of ${name} to store ${store} will be a full one`]
      : [`the next increment of ${name} will build on ${left.id}`];
  });

/** For messages. */
export const describeSnapshot = ({ snap, ...image }: SourceSnapshot): string => `${formatImageRef(image)}@${snap}`;
