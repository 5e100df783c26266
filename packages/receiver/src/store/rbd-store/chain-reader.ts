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
import type { Backup, Chain } from '@rbdferry/core/model/chain.js';
import type { ImageSpec, PoolSpec } from '@rbdferry/core/model/image-spec.js';
import type { LookOptions } from '../port.js';
import { backupKey, decodeFacts, decodeState, stateKey, type HeadState } from './backup-meta.js';

/** A chain as its image shows it, with what a transfer needs besides. */
export interface ChainView {
  readonly chain: Omit<Chain, 'active'>;
  /** Null in a chain of the older tool. */
  readonly state: HeadState | null;
  readonly metadata: ReadonlyMap<string, string>;
  /** Every snapshot of the image, an operator's own included. */
  readonly snapshots: readonly Snapshot[];
}

interface Options {
  readonly signal?: AbortSignal | undefined;
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

  constructor(options: { ceph: CephPort; store: string; pool: PoolSpec }) {
    this.#ceph = options.ceph;
    this.#store = options.store;
    this.#pool = options.pool;
  }

  image(name: string): ImageSpec {
    return { ...this.#pool, image: name };
  }

  /** Names of the chains of one image, or of all. */
  async names(image: string | null, options: Options): Promise<ChainName[]> {
    return chainNames(await this.#ceph.list(this.#pool, options), image);
  }

  /** One chain, as it is now. @throws BACKUP_NOT_FOUND */
  async fresh(name: ChainName, options: Options): Promise<ChainView> {
    this.forget(name);
    return this.#read(name, undefined, options);
  }

  /**
   * Chains of one image, or of all; those that vanish meanwhile are left out, and those that cannot be read when there is somebody to
   * be told of them. In order of name.
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
    return wanted.flatMap(({ name }) => views.get(name) ?? []);
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
    const names = await this.names(image, options);
    return names.map((name) => ({ name, snapshots: undefined }));
  }

  /**
   * One process for all the snapshots of a pool instead of one for each image. By which image cannot be opened it depends whether
   * `rbd ls -l` leaves that one out or fails as a whole, so what it does not tell of is looked at by itself.
   */
  async #everything(options: Options) {
    const [names, listings] = await Promise.all([
      this.names(null, options),
      this.#ceph.listWithSnapshots(this.#pool, options).catch((thrown: unknown) => {
        if (options.signal?.aborted === true || isAway(toFerryError(thrown))) throw thrown;
        return [];
      }),
    ]);
    const byName = new Map<string, readonly Snapshot[]>(listings.map((each) => [each.name, each.snapshots]));
    const all = new Set([...names, ...byName.keys()]);
    return chainNames([...all], null).map((name) => ({ name, snapshots: byName.get(name) }));
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
      return viewOf(this.#store, name, found, metadata);
    } catch (thrown) {
      const error = toFerryError(thrown);
      if (error.code !== 'IMAGE_NOT_FOUND') throw error;
      throw new FerryError('BACKUP_NOT_FOUND', `there is no chain ${name} in store ${this.#store}`, { cause: error });
    }
  }
}

/** Then no image of the cluster can be read, not only this one. */
export const isAway = ({ code }: FerryError): boolean => code === 'CEPH_UNAVAILABLE' || code === 'CEPH_NOT_INSTALLED';

const chainNames = (names: readonly string[], image: string | null): ChainName[] =>
  names
    .flatMap((name) => splitChainName(name) ?? [])
    .filter((parts) => image === null || parts.image === image)
    .map((parts) => parts.chain)
    .toSorted();

const viewOf = (
  store: string,
  name: ChainName,
  snapshots: readonly Snapshot[],
  metadata: ReadonlyMap<string, string>,
): ChainView => {
  const idOf = (snap: SnapName): BackupId => formatBackupId({ store, chain: name, snap });
  const stateText = metadata.get(stateKey);
  const state = stateText === undefined ? null : decodeState(stateText);
  const backups = snapshots
    .toSorted((a, b) => a.id - b.id)
    .flatMap((snapshot) => {
      if (!isSnapName(snapshot.name)) return [];
      if (state === null) return [legacyBackup(snapshot, snapshot.name, idOf)];
      const facts = metadata.get(backupKey(snapshot.name));
      const backup = facts === undefined ? undefined : decodeFacts(facts, snapshot.name, idOf);
      return backup === undefined ? [] : [backup];
    });
  return {
    chain: {
      store,
      name,
      backups: state === null ? firstIsFull(backups) : backups,
      legacy: state === null,
      partial: state?.kind === 'receiving',
    },
    state,
    metadata,
    snapshots,
  };
};

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
