import type { CephPort, Snapshot } from '@rbdferry/core/ceph/port.js';
import { FerryError, toFerryError } from '@rbdferry/core/errors/ferry-error.js';
import {
  formatBackupId,
  isSnapName,
  snapTime,
  splitChainName,
  timestampToMs,
  type BackupId,
  type ChainName,
  type SnapName,
} from '@rbdferry/core/model/backup-id.js';
import type { Backup } from '@rbdferry/core/model/chain.js';
import type { ImageSpec, PoolSpec } from '@rbdferry/core/model/image-spec.js';
import type { FoundChain } from '../driver.js';
import { isAway } from '../is-away.js';
import type { LookOptions, Options } from '../port.js';
import {
  backupKey,
  decodeFacts,
  decodeState,
  orphanKeys,
  snapOfBackupKey,
  stateKey,
  type HeadState,
} from './backup-meta.js';

/** A chain as its image shows it. */
export interface ChainView extends FoundChain {
  /** Null in a chain of the older tool. */
  readonly state: HeadState | null;
  readonly metadata: ReadonlyMap<string, string>;
  /** Every snapshot of the image, an operator's own included. */
  readonly snapshots: readonly Snapshot[];
  /**
   * A snapshot with facts that a transfer was making when its receiver died: whether it is a backup is decided under the chain's lock
   * (`recoverChain`), and nobody hears of it before. Null when there is none.
   */
  readonly undecided: Backup | null;
}

/** Chains read at the same time: each read costs one or two `rbd` processes. */
const readConcurrency = 4;

/**
 * Reads and changes what an image says of its chain.
 *
 * Image-meta is remembered, because a store of thousands of chains would otherwise cost a process for each of them at each
 * listing. That is sound because every change goes through here: the receiver is the only one that changes its stores.
 * Snapshots are always asked for, so a backup that an operator removed by hand is never listed.
 */
export class ChainReader {
  readonly #ceph: CephPort;
  readonly #store: string;
  readonly #pool: PoolSpec;
  readonly #remembered = new Map<string, ReadonlyMap<string, string>>();
  /** Counts changes, so that what was read before a change is not remembered after it. */
  readonly #changes = new Map<string, number>();
  /** The source images that facts speak of, by the metadata that they were read from. */
  readonly #sources = new WeakMap<ReadonlyMap<string, string>, ReadonlySet<string>>();
  /** Commits of this process whose chain may still say `receiving`. */
  readonly #committed = new Set<BackupId>();

  constructor(options: { ceph: CephPort; store: string; pool: PoolSpec }) {
    this.#ceph = options.ceph;
    this.#store = options.store;
    this.#pool = options.pool;
  }

  image(name: string): ImageSpec {
    return { ...this.#pool, image: name };
  }

  /** This process has committed a backup: it counts, though the chain's state does not say so yet. */
  committed(id: BackupId): void {
    this.#committed.add(id);
  }

  /** The chain's state says so now. */
  settled(id: BackupId): void {
    this.#committed.delete(id);
  }

  /** One chain, as it is now. @throws BACKUP_NOT_FOUND */
  async fresh(name: ChainName, options: Options): Promise<ChainView> {
    this.forget(name);
    return this.#read(name, undefined, options);
  }

  /**
   * Chains that are named for images of this name or hold backups of one, or all; those that vanish meanwhile are left out, and those
   * that cannot be read when there is somebody to be told of them. In order of name. An image that was renamed, or restored under
   * another name, goes on in its old chain.
   */
  async many(image: string | null, options: LookOptions): Promise<ChainView[]> {
    const wanted = image === null ? await this.#everything(options) : await this.#namesOnly(image, options);
    const views = new Map<ChainName, ChainView>();
    const queue = [...wanted];
    const worker = async () => {
      for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
        const view = await this.#unlessUnreadable(next.name, next.snapshots, options);
        if (view !== null) views.set(next.name, view);
      }
    };
    await Promise.all(Array.from({ length: readConcurrency }, worker));
    return wanted.flatMap(({ name }) => views.get(name) ?? []).filter((view) => image === null || isOf(view, image));
  }

  async setMetadata(name: string, key: string, value: string, options: Options = {}): Promise<void> {
    this.forget(name);
    await this.#ceph.setMetadata(this.image(name), key, value, options);
    this.forget(name);
  }

  async removeMetadata(name: string, key: string, options: Options = {}): Promise<void> {
    this.forget(name);
    await this.#ceph.removeMetadata(this.image(name), key, options);
    this.forget(name);
  }

  /** To be called after the image was removed or renamed. */
  forget(name: string): void {
    this.#remembered.delete(name);
    this.#changes.set(name, this.#changeCount(name) + 1);
  }

  #changeCount(name: string): number {
    return this.#changes.get(name) ?? 0;
  }

  async #namesOnly(image: string, options: Options) {
    const names = chainNames(await this.#ceph.list(this.#pool, options));
    return names
      .filter((name) => splitChainName(name)?.image === image || this.#mayHold(name, image))
      .map((name) => ({ name, snapshots: undefined }));
  }

  /** Whether a chain of another name may hold backups of an image of this name: it does, or has not been read yet. */
  #mayHold(name: ChainName, image: string): boolean {
    const metadata = this.#remembered.get(name);
    if (metadata === undefined) return true;
    const sources = this.#sources.get(metadata) ?? sourceImages(metadata);
    this.#sources.set(metadata, sources);
    return sources.has(image);
  }

  /**
   * One process for all the snapshots of a pool instead of one for each image. By which image cannot be opened it depends whether
   * `rbd ls -l` leaves that one out or fails as a whole, so what it does not tell of is looked at by itself.
   */
  async #everything(options: Options) {
    const [names, listings] = await Promise.all([
      this.#ceph.list(this.#pool, options),
      this.#ceph.listWithSnapshots(this.#pool, options).catch((thrown: unknown) => {
        if (options.signal?.aborted === true || isAway(toFerryError(thrown))) throw thrown;
        return [];
      }),
    ]);
    const byName = new Map<string, readonly Snapshot[]>(listings.map((each) => [each.name, each.snapshots]));
    const all = new Set([...names, ...byName.keys()]);
    return chainNames([...all]).map((name) => ({ name, snapshots: byName.get(name) }));
  }

  async #unlessUnreadable(
    name: ChainName,
    snapshots: readonly Snapshot[] | undefined,
    options: LookOptions,
  ): Promise<ChainView | null> {
    try {
      return await this.#read(name, snapshots, options);
    } catch (thrown) {
      const error = toFerryError(thrown);
      if (error.code === 'BACKUP_NOT_FOUND') return null;
      if (options.onUnreadable === undefined || options.signal?.aborted === true || isAway(error)) throw error;
      options.onUnreadable({ name, error });
      return null;
    }
  }

  async #read(name: ChainName, snapshots: readonly Snapshot[] | undefined, options: Options): Promise<ChainView> {
    const image = this.image(name);
    const before = this.#changeCount(name);
    try {
      const [found, metadata] = await Promise.all([
        snapshots ?? this.#ceph.snapshots(image, options),
        this.#remembered.get(name) ?? this.#ceph.metadata(image, options),
      ]);
      if (this.#changeCount(name) === before) this.#remembered.set(name, metadata);
      return viewOf({ store: this.#store, name, snapshots: found, metadata, committed: this.#committed });
    } catch (thrown) {
      const error = toFerryError(thrown);
      if (error.code !== 'IMAGE_NOT_FOUND') throw error;
      throw new FerryError('BACKUP_NOT_FOUND', `there is no chain ${name} in store ${this.#store}`, { cause: error });
    }
  }
}

const chainNames = (names: readonly string[]): ChainName[] =>
  names.flatMap((name) => splitChainName(name)?.chain ?? []).toSorted();

const isOf = ({ chain }: ChainView, image: string): boolean =>
  splitChainName(chain.name)?.image === image ||
  chain.backups.some(({ source }) => source?.identity.image.image === image);

/** Names of the images that the facts in a chain's metadata are of. */
const sourceImages = (metadata: ReadonlyMap<string, string>): ReadonlySet<string> => {
  const images = new Set<string>();
  for (const [key, text] of metadata) {
    const snap = snapOfBackupKey(key);
    const facts =
      snap === undefined ? undefined : decodeFacts(text, snap as SnapName, (name) => name as string as BackupId);
    if (facts !== undefined) images.add(facts.source.identity.image.image);
  }
  return images;
};

interface Seen {
  readonly store: string;
  readonly name: ChainName;
  readonly snapshots: readonly Snapshot[];
  readonly metadata: ReadonlyMap<string, string>;
  readonly committed: ReadonlySet<BackupId>;
}

const viewOf = ({ store, name, snapshots, metadata, committed }: Seen): ChainView => {
  const idOf = (snap: SnapName): BackupId => formatBackupId({ store, chain: name, snap });
  const stateText = metadata.get(stateKey);
  const state = stateText === undefined ? null : decodeState(stateText);
  // A chain that is being deleted is what it was before.
  const before = state?.kind === 'deleting' ? stateBefore(state) : state;
  const found = snapshots
    .toSorted((a, b) => a.id - b.id)
    .flatMap((snapshot): Backup[] => {
      if (!isSnapName(snapshot.name)) return [];
      if (before === null) return [legacyBackup(snapshot, snapshot.name, idOf)];
      const facts = metadata.get(backupKey(snapshot.name));
      const backup = facts === undefined ? undefined : decodeFacts(facts, snapshot.name, idOf);
      return backup === undefined ? [] : [backup];
    });
  const unfinished = before?.kind === 'receiving' && isSnapName(before.snap) ? before.snap : null;
  const undecided = found.find(({ id, snap }) => snap === unfinished && !committed.has(id)) ?? null;
  const backups = found.filter((backup) => backup !== undecided);
  const chain = {
    store,
    name,
    backups: before === null ? firstIsFull(backups) : backups,
    legacy: before === null,
    partial: before?.kind === 'receiving',
  };
  const seen = { chain, state, metadata, snapshots };
  return {
    ...seen,
    unfinished,
    undecided,
    isUndecided: undecided !== null,
    isUnsettled: isUnsettled(seen),
    isLeftover: snapshots.length === 0,
    isNewer: state?.kind === 'unknown',
    takenNames: new Set(snapshots.map((snapshot) => snapshot.name)),
  };
};

type Image = Pick<ChainView, 'chain' | 'state' | 'metadata' | 'snapshots'>;

/** Whether an earlier step broke off on this chain, or is under way. */
const isUnsettled = (image: Image): boolean =>
  image.state?.kind === 'receiving' ||
  image.state?.kind === 'deleting' ||
  isEmptied(image) ||
  (image.state?.kind === 'clean' && orphansOf(image).length > 0);

/** A chain becomes clean by a commit and so has a backup: one without any snapshot was left by a deletion that broke off. */
export const isEmptied = ({ state, snapshots }: Pick<Image, 'state' | 'snapshots'>): boolean =>
  state?.kind === 'clean' && snapshots.length === 0;

/** Keys of facts and usage that a removal or a broken commit has left; none in a chain of the older tool. */
export const orphansOf = ({ chain, metadata, snapshots }: Image): string[] =>
  chain.legacy ? [] : orphanKeys(metadata.keys(), new Set(snapshots.map(({ name }) => name)));

/** What a chain that is being deleted was. */
const stateBefore = ({ before }: HeadState & { kind: 'deleting' }): HeadState | null =>
  before === null ? null : decodeState(before);

const firstIsFull = (backups: readonly Backup[]): Backup[] =>
  backups.map((backup, index) => (index === 0 ? { ...backup, kind: 'full' } : backup));

/** The older tool wrote names only; the rest is what RBD itself tells. */
const legacyBackup = (snapshot: Snapshot, snap: SnapName, idOf: (snap: SnapName) => BackupId): Backup => {
  const time = snapTime(snap);
  return {
    id: idOf(snap),
    snap,
    kind: 'incremental',
    source: null,
    sizeBytes: snapshot.sizeBytes,
    streamBytes: 0n,
    dataBytes: 0n,
    streamGmac: new Uint8Array(),
    // The older tool, or an operator, may have made names of days that never were.
    committedAtMs: (time === undefined ? 0 : timestampToMs(time)) || 0,
    baseId: null,
    client: null,
  };
};
