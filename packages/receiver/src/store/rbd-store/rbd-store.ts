import type { CephPort } from '@rbdferry/core/ceph/port.js';
import { FerryError, toFerryError } from '@rbdferry/core/errors/ferry-error.js';
import { KeyedLock, type Release } from '@rbdferry/core/lifecycle/keyed-lock.js';
import type { Logger } from '@rbdferry/core/log/logger.js';
import {
  chainNameOf,
  formatBackupId,
  isSnapName,
  snapTime,
  splitChainName,
  type BackupIdParts,
  type ChainName,
  type SnapName,
} from '@rbdferry/core/model/backup-id.js';
import { markActive, type Backup, type Chain } from '@rbdferry/core/model/chain.js';
import { formatPoolSpec, type ImageSpec, type PoolSpec } from '@rbdferry/core/model/image-spec.js';
import type { OpenedPull, OpenedPush, PushIntent, Store } from '../port.js';
import { backupKey, encodeState, snapOfBackupKey, stateKey, type KnownHeadState } from './backup-meta.js';
import { chainNames, readChain, type ChainView } from './chain-reader.js';
import { RbdOpenedPush } from './opened-push.js';

export interface RbdStoreOptions {
  readonly name: string;
  readonly pool: PoolSpec;
  readonly ceph: CephPort;
  readonly features: readonly string[];
  readonly dataPool: string | null;
  readonly stallMs: number;
  readonly log: Logger;
  /** Milliseconds since 1970. */
  readonly now: () => number;
}

interface Options {
  readonly signal?: AbortSignal | undefined;
}

/** How long a transfer waits for another one into the same chain to be cleaned up. */
const lockWaitMs = 60_000;
/** Chains read at the same time when listing: each costs two `rbd` processes. */
const readConcurrency = 4;
/** A new image has this name until its state is written on it, so that whatever is found under it is ours to remove. */
const newImageSuffix = '.new';

/** Backups as RBD images in a pool: an image for each chain, a snapshot for each backup, facts in image-meta. */
export class RbdStore implements Store {
  readonly name: string;
  readonly #options: RbdStoreOptions;
  readonly #locks = new KeyedLock();

  constructor(options: RbdStoreOptions) {
    this.name = options.name;
    this.#options = options;
  }

  async *chains(image: string | null, options: Options): AsyncGenerator<Chain, void, undefined> {
    const { ceph, pool } = this.#options;
    const names = chainNames(await ceph.list(pool, options), image);
    const views = await this.#readAll(names, options);
    yield* markActive(views.map((view) => view.chain).filter((chain) => chain.backups.length > 0 || chain.partial));
  }

  async backup(id: BackupIdParts, options: Options): Promise<Backup> {
    const view = await this.#read(id.chain, options);
    return findBackup(view, id);
  }

  async open(intent: PushIntent, options: Options): Promise<OpenedPush> {
    const chain = intent.base?.chain ?? this.#newChainName(intent);
    const release = await this.#lock(chain, options);
    try {
      if (intent.base === null) await this.#createChain(chain, intent, options);
      else await this.#prepareHead(intent.base, intent, options);
    } catch (thrown) {
      if (intent.base === null) await this.#quietly('clean up', chain, () => this.#recoverChain(chain, {}));
      release();
      throw toFerryError(thrown);
    }
    return new RbdOpenedPush({
      ceph: this.#options.ceph,
      image: this.#image(chain),
      intent,
      backupId: formatBackupId({ store: this.name, chain, snap: intent.snap }),
      baseId: intent.base === null ? null : formatBackupId(intent.base),
      stallMs: this.#options.stallMs,
      now: this.#options.now,
      release,
      cleanUp: () => this.#quietly('clean up', chain, () => this.#recoverChain(chain, {})),
    });
  }

  async read(id: BackupIdParts, options: Options): Promise<OpenedPull> {
    const close = await this.#locks.acquire(readersOf(id.chain), { mode: 'shared', signal: options.signal });
    try {
      const backup = await this.backup(id, options);
      const stream = this.#options.ceph.exportDiff(this.#image(id.chain), { snap: id.snap, fromSnap: null }, options);
      return { backup, stream, close };
    } catch (thrown) {
      close();
      throw thrown;
    }
  }

  async recover(options: Options): Promise<string[]> {
    const { ceph, pool } = this.#options;
    const names = await ceph.list(pool, options);
    const changed: string[] = [];
    for (const name of names) {
      if (!isNewImage(name)) continue;
      await ceph.remove({ ...pool, image: name }, options);
      changed.push(name);
    }
    for (const chain of chainNames(names, null)) {
      const release = this.#locks.tryAcquire(chain);
      // Whoever holds it has found it clean or cleans it up.
      if (release === undefined) continue;
      try {
        if (await this.#recoverChain(chain, options)) changed.push(chain);
      } catch (thrown) {
        this.#options.log.warn({ chain, error: toFerryError(thrown).message }, 'could not clean up a chain');
      } finally {
        release();
      }
    }
    return changed;
  }

  #image(name: string): ImageSpec {
    return { ...this.#options.pool, image: name };
  }

  #newChainName({ source, snap }: PushIntent): ChainName {
    const time = snapTime(snap);
    if (time === undefined) throw new FerryError('INVALID_REQUEST', `${snap} is not TIMESTAMP.snap`);
    return chainNameOf(source.identity.image.image, time);
  }

  async #lock(chain: ChainName, options: Options): Promise<Release> {
    const waited = AbortSignal.timeout(lockWaitMs);
    const signal = options.signal === undefined ? waited : AbortSignal.any([options.signal, waited]);
    try {
      return await this.#locks.acquire(chain, { signal });
    } catch (thrown) {
      if (!waited.aborted) throw thrown;
      throw new FerryError('IMAGE_BUSY', `another transfer into ${chain} is under way`, { cause: thrown });
    }
  }

  async #read(chain: ChainName, options: Options): Promise<ChainView> {
    const { ceph, pool } = this.#options;
    try {
      return await readChain(ceph, { store: this.name, pool }, chain, options);
    } catch (thrown) {
      const error = toFerryError(thrown);
      if (error.code !== 'IMAGE_NOT_FOUND') throw error;
      throw new FerryError('BACKUP_NOT_FOUND', `there is no chain ${chain} in store ${this.name}`, { cause: error });
    }
  }

  /** Reads chains a few at a time; one that vanishes meanwhile is left out. */
  async #readAll(names: readonly ChainName[], options: Options): Promise<ChainView[]> {
    const views = new Map<ChainName, ChainView>();
    const queue = [...names];
    const worker = async () => {
      for (let name = queue.shift(); name !== undefined; name = queue.shift()) {
        try {
          views.set(name, await this.#read(name, options));
        } catch (thrown) {
          if (toFerryError(thrown).code !== 'BACKUP_NOT_FOUND') throw thrown;
        }
      }
    };
    await Promise.all(Array.from({ length: readConcurrency }, worker));
    return names.flatMap((name) => views.get(name) ?? []);
  }

  /** If we die here: the image has its `.new` name, or it has its state; either way it is known as ours and uncommitted. */
  async #createChain(chain: ChainName, intent: PushIntent, options: Options): Promise<void> {
    const { ceph, features, dataPool, pool } = this.#options;
    const { layout } = intent.source;
    const young = this.#image(`${chain}${newImageSuffix}`);
    await this.#missingPoolIsAStoreError(ceph.create(young, { ...layout, features, dataPool }, options), pool);
    try {
      await ceph.setMetadata(young, stateKey, encodeState(this.#receiving(intent)), options);
      await ceph.rename(young, this.#image(chain), options);
    } catch (thrown) {
      await this.#quietly('remove', young.image, () => ceph.remove(young));
      throw thrown;
    }
  }

  async #missingPoolIsAStoreError(step: Promise<void>, pool: PoolSpec): Promise<void> {
    try {
      await step;
    } catch (thrown) {
      const error = toFerryError(thrown);
      if (error.code !== 'POOL_NOT_FOUND' && error.code !== 'NAMESPACE_NOT_FOUND') throw error;
      throw new FerryError('STORE_NOT_FOUND', `store ${this.name} is pool ${formatPoolSpec(pool)}: ${error.message}`, {
        hint: "create the pool (and namespace), or correct the receiver's configuration",
        cause: error,
      });
    }
  }

  /** The state says `receiving` before anything is changed. */
  async #prepareHead(base: BackupIdParts, intent: PushIntent, options: Options): Promise<void> {
    const { ceph } = this.#options;
    const image = this.#image(base.chain);
    const view = await this.#read(base.chain, options);
    const found = findBackup(view, base);
    if (view.state?.kind === 'unknown') {
      throw new FerryError('PROTOCOL_MISMATCH', `${base.chain} was written by a newer release of rbdferry`, {
        hint: 'update the receiver, or make a full backup',
      });
    }
    if (view.state !== null && found.client !== intent.client) throw noBackup(base);
    if (view.state === null) {
      throw new FerryError(
        'NO_COMMON_SNAPSHOT',
        `${base.chain} was made by the older tool; increments never build on it`,
      );
    }
    if (view.chain.backups.some((backup) => backup.snap === intent.snap)) {
      throw new FerryError('SNAPSHOT_EXISTS', `${base.chain} has a backup ${intent.snap} already`);
    }
    const headIsBase = view.state.kind === 'clean' && view.state.head === base.snap;
    await ceph.setMetadata(image, stateKey, encodeState(this.#receiving(intent)), options);
    if (!headIsBase) await ceph.rollback(image, base.snap, options);
  }

  #receiving({ snap, base, client }: PushIntent): KnownHeadState {
    const since = new Date(this.#options.now()).toISOString();
    return { kind: 'receiving', v: 1, snap, base: base?.snap ?? null, client, since };
  }

  /**
   * Puts a chain of ours right after an interrupted import; the caller holds its lock. Answers whether it changed anything.
   * An image without a committed backup is removed, a dirty head is rolled back to the newest one.
   */
  async #recoverChain(chain: ChainName, options: Options): Promise<boolean> {
    const { ceph } = this.#options;
    const image = this.#image(chain);
    const view = await this.#read(chain, options).catch((thrown: unknown) => {
      if (toFerryError(thrown).code === 'BACKUP_NOT_FOUND') return null;
      throw thrown;
    });
    if (view?.state?.kind !== 'receiving') return false;
    const newest = view.chain.backups.at(-1);
    if (newest === undefined) return this.#removeUncommitted(image, view, options);
    if (view.state.snap !== newest.snap) {
      await this.#removeUncommittedSnapshot(image, view, options);
      await ceph.rollback(image, newest.snap, options);
    }
    await this.#dropOrphanFacts(image, view, options);
    await ceph.setMetadata(image, stateKey, encodeState({ kind: 'clean', v: 1, head: newest.snap }), options);
    return true;
  }

  /** Removes an image that never had a backup. Anything in it that the interrupted transfer did not make keeps it. */
  async #removeUncommitted(image: ImageSpec, view: ChainView, options: Options): Promise<boolean> {
    await this.#removeUncommittedSnapshot(image, view, options);
    const [left] = await this.#options.ceph.snapshots(image, options);
    if (left === undefined) return this.#options.ceph.remove(image, options);
    this.#options.log.warn(
      { chain: image.image, snapshot: left.name },
      'an uncommitted image has a snapshot: left alone',
    );
    return false;
  }

  /** A snapshot of the interrupted transfer's name without facts can only be its own. */
  async #removeUncommittedSnapshot(image: ImageSpec, view: ChainView, options: Options): Promise<void> {
    if (view.state?.kind !== 'receiving' || !isSnapName(view.state.snap)) return;
    if (view.keys.includes(backupKey(view.state.snap))) return;
    await this.#options.ceph.removeSnapshot(image, view.state.snap, options);
  }

  async #dropOrphanFacts(image: ImageSpec, view: ChainView, options: Options): Promise<void> {
    const known = new Set<string>(view.chain.backups.map((backup) => backup.snap));
    for (const key of view.keys) {
      const snap = snapOfBackupKey(key);
      if (snap !== undefined && !known.has(snap)) await this.#options.ceph.removeMetadata(image, key, options);
    }
  }

  async #quietly(what: string, chain: string, step: () => Promise<unknown>): Promise<void> {
    try {
      await step();
    } catch (thrown) {
      const error = toFerryError(thrown);
      this.#options.log.warn(
        { chain, code: error.code, error: error.message },
        `could not ${what}; left to the next transfer`,
      );
    }
  }
}

const readersOf = (chain: ChainName): string => `readers of ${chain}`;

const isNewImage = (name: string): boolean =>
  name.endsWith(newImageSuffix) && splitChainName(name.slice(0, -newImageSuffix.length)) !== undefined;

const findBackup = (view: ChainView, id: { snap: SnapName; chain: ChainName; store: string }): Backup => {
  const found = view.chain.backups.find((backup) => backup.snap === id.snap);
  if (found !== undefined) return found;
  throw noBackup(id);
};

const noBackup = (id: BackupIdParts): FerryError =>
  new FerryError('BACKUP_NOT_FOUND', `there is no backup ${formatBackupId(id)}`);
