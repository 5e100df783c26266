import type { CephPort, Snapshot } from '@rbdferry/core/ceph/port.js';
import { FerryError, toFerryError } from '@rbdferry/core/errors/ferry-error.js';
import { splitChainName, type BackupId, type ChainName, type SnapName } from '@rbdferry/core/model/backup-id.js';
import type { ImageSpec, PoolSpec } from '@rbdferry/core/model/image-spec.js';
import { isAway } from '../is-away.js';
import type { LookOptions, Options } from '../port.js';
import { sourceImages, viewOf, type ChainView } from './chain-view.js';

/** Chains read at the same time: each read costs one or two `rbd` processes. */
const readConcurrency = 4;

/**
 * Reads and changes what an image says of its chain, and remembers it. That is sound because every change goes through here: the receiver is
 * the only one that changes its stores.
 *
 * Image-meta is remembered for listings, since a store of thousands of chains would otherwise cost a process for each of them each time.
 * Snapshots are always asked for there, so a backup that an operator removed by hand is never listed. They are remembered as well, for whoever
 * works with one chain, finds by what it does whether they are still there, and would ask for what it has just seen (`known`).
 */
export class ChainReader {
  readonly #ceph: CephPort;
  readonly #store: string;
  readonly #pool: PoolSpec;
  readonly #remembered = new Map<string, ReadonlyMap<string, string>>();
  readonly #snapshots = new Map<string, readonly Snapshot[]>();
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

  /** A chain as it was seen last, with what was changed here since; null when it was not seen, or not after what was changed. */
  known(name: ChainName): ChainView | null {
    const snapshots = this.#snapshots.get(name);
    const metadata = this.#remembered.get(name);
    if (snapshots === undefined || metadata === undefined) return null;
    return this.#viewOf(name, snapshots, metadata);
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
    const set = this.#ceph.setMetadata.bind(this.#ceph, this.image(name), key, value, options);
    await this.#changeMetadata(name, set, (metadata) => metadata.set(key, value));
  }

  async removeMetadata(name: string, key: string, options: Options = {}): Promise<void> {
    const remove = this.#ceph.removeMetadata.bind(this.#ceph, this.image(name), key, options);
    await this.#changeMetadata(name, remove, (metadata) => metadata.delete(key));
  }

  /** Answers false when there was none. */
  async removeSnapshot(name: string, snap: SnapName, options: Options = {}): Promise<boolean> {
    this.forgetSnapshots(name);
    try {
      return await this.#ceph.removeSnapshot(this.image(name), snap, options);
    } finally {
      this.forgetSnapshots(name);
    }
  }

  /** The image was made just now, with this image-meta and without snapshots. */
  made(name: ChainName, metadata: ReadonlyMap<string, string>): void {
    this.forget(name);
    this.#remembered.set(name, metadata);
    this.#snapshots.set(name, []);
  }

  /** The image has these snapshots, which somebody who holds the chain has seen just now. */
  saw(name: ChainName, snapshots: readonly Snapshot[]): void {
    this.#counted(name);
    this.#snapshots.set(name, snapshots);
  }

  /** To be called before snapshots of the image are made, and before and after one is removed. */
  forgetSnapshots(name: string): void {
    this.#counted(name);
    this.#snapshots.delete(name);
  }

  /** To be called before and after the image is removed. */
  forget(name: string): void {
    this.forgetSnapshots(name);
    this.#forgetMetadata(name);
  }

  /**
   * While it is changed, and when it is not known whether it was, nothing is remembered: what somebody reads meanwhile may be from before.
   */
  async #changeMetadata(
    name: string,
    change: () => Promise<unknown>,
    apply: (metadata: Map<string, string>) => unknown,
  ): Promise<void> {
    const before = this.#remembered.get(name);
    const count = this.#forgetMetadata(name);
    let isOnlyChange = false;
    try {
      await change();
      isOnlyChange = this.#changeCount(name) === count;
    } finally {
      this.#forgetMetadata(name);
    }
    if (before === undefined || !isOnlyChange) return;
    const metadata = new Map(before);
    apply(metadata);
    this.#remembered.set(name, metadata);
  }

  #forgetMetadata(name: string): number {
    this.#remembered.delete(name);
    return this.#counted(name);
  }

  #counted(name: string): number {
    const count = this.#changeCount(name) + 1;
    this.#changes.set(name, count);
    return count;
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

  #viewOf(name: ChainName, snapshots: readonly Snapshot[], metadata: ReadonlyMap<string, string>): ChainView {
    return viewOf({ store: this.#store, name, snapshots, metadata, committed: this.#committed });
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
      if (this.#changeCount(name) === before) {
        this.#remembered.set(name, metadata);
        // Those of a listing are from before the change count was read.
        if (snapshots === undefined) this.#snapshots.set(name, found);
      }
      return this.#viewOf(name, found, metadata);
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
