import { estimatedStreamBytes } from '@rbdferry/core/ceph/diff-extents.js';
import type { CephPort } from '@rbdferry/core/ceph/port.js';
import { provenDiff } from '@rbdferry/core/ceph/proven-diff.js';
import { FerryError, toFerryError } from '@rbdferry/core/errors/ferry-error.js';
import { KeyedLock, type Release } from '@rbdferry/core/lifecycle/keyed-lock.js';
import type { Logger } from '@rbdferry/core/log/logger.js';
import {
  chainNameOf,
  formatBackupId,
  snapTime,
  splitChainName,
  type BackupId,
  type BackupIdParts,
  type ChainName,
} from '@rbdferry/core/model/backup-id.js';
import { markActive, type Backup, type Chain, type ChainUsage } from '@rbdferry/core/model/chain.js';
import type { ImageSpec, PoolSpec } from '@rbdferry/core/model/image-spec.js';
import type { OpenedPull, OpenedPush, PushIntent, Removed, RemoveOptions, Store } from '../port.js';
import { encodeState, stateKey, type KnownHeadState } from './backup-meta.js';
import { ChainReader, unfinishedSnap } from './chain-reader.js';
import { CleanUpLater } from './clean-up-later.js';
import { findBackup, lockWithin, noBackup, readersOf, removeImage, type Options } from './context.js';
import { untilUnused } from './keepers.js';
import { chainOfNewImage, createChain, isNewImage, mayHaveMadeImage, removeNewImage } from './new-chain.js';
import { RbdOpenedPush } from './opened-push.js';
import { removeBackup, removeChain, type RemoveContext } from './remove.js';
import { isUnsettled, settleChain } from './settle-chain.js';
import { chainUsage, UsageMeter } from './usage.js';

export interface RbdStoreOptions {
  readonly name: string;
  readonly pool: PoolSpec;
  readonly ceph: CephPort;
  readonly features: readonly string[];
  readonly dataPool: string | null;
  readonly stallMs: number;
  /** How long a removed chain's image stays in the trash; null to remove it for good. */
  readonly trashExpiryMs: number | null;
  readonly log: Logger;
  /** Milliseconds since 1970. */
  readonly now: () => number;
}

/** Backups as RBD images in a pool: an image for each chain, a snapshot for each backup, facts in image-meta. */
export class RbdStore implements Store {
  readonly name: string;
  readonly #options: RbdStoreOptions;
  readonly #context: RemoveContext;
  /** Backups that are being made, from their first look to their end, and how many at once try to. */
  readonly #receiving = new Map<BackupId, number>();
  readonly #background = new Set<Promise<void>>();
  readonly #meter: UsageMeter;
  readonly #later = new CleanUpLater((chain, signal) => this.#cleanUpAgain(chain, signal));

  constructor(options: RbdStoreOptions) {
    const { name, pool, ceph } = options;
    this.name = name;
    this.#options = options;
    this.#context = {
      ...options,
      reader: new ChainReader({ ceph, store: name, pool }),
      locks: new KeyedLock(),
      later: (chain) => {
        this.#later.add(chain);
      },
    };
    this.#meter = new UsageMeter(this.#context, () => this.#receiving.size === 0);
  }

  async *chains(image: string | null, options: Options): AsyncGenerator<Chain, void, undefined> {
    const views = await this.#context.reader.many(image, options);
    yield* markActive(views.map((view) => view.chain).filter((chain) => chain.backups.length > 0));
  }

  async backup(id: BackupIdParts, options: Options): Promise<Backup> {
    if (this.#receiving.has(formatBackupId(id))) {
      // Its sender may have lost us in the middle of the commit and asks how it ended.
      const release = await this.#context.locks.acquire(id.chain, { mode: 'shared', signal: options.signal });
      release();
    }
    try {
      const view = await this.#context.reader.fresh(id.chain, options);
      if (unfinishedSnap(view) !== id.snap || view.chain.backups.some(({ snap }) => snap === id.snap)) {
        return findBackup(view, id);
      }
      // An earlier life of ours died while it made this very backup. Nobody is answered before that is decided.
      await this.#settle(id.chain, options);
      return findBackup(await this.#context.reader.fresh(id.chain, options), id);
    } catch (thrown) {
      // Who asked for a backup hears of that backup, though its whole chain is missing.
      throw toFerryError(thrown).code === 'BACKUP_NOT_FOUND' ? noBackup(id) : thrown;
    }
  }

  async open(intent: PushIntent, options: Options): Promise<OpenedPush> {
    const chain = intent.base?.chain ?? newChainName(intent);
    const backupId = formatBackupId({ store: this.name, chain, snap: intent.snap });
    const cleanUp = () => this.#cleanUp(chain);
    // From here on: who was lost while this works asks how it ended, and then expects nothing to be left.
    const forget = this.#receive(backupId);
    let unlock: Release;
    try {
      unlock = await lockWithin(this.#context, chain, chain, options);
    } catch (thrown) {
      forget();
      throw thrown;
    }
    try {
      if (intent.base === null) await this.#createChain(chain, intent, options);
      else await this.#prepareHead(intent.base, intent, options);
    } catch (thrown) {
      await cleanUp();
      forget();
      unlock();
      throw toFerryError(thrown);
    }
    return new RbdOpenedPush({
      ...this.#context,
      chain,
      intent,
      backupId,
      baseId: intent.base === null ? null : formatBackupId(intent.base),
      stallMs: this.#options.stallMs,
      cleanUp,
      onCommitted: () => {
        this.#meter.add(chain, intent.snap);
      },
      background: (work) => {
        this.#background.add(work);
        void work.finally(() => this.#background.delete(work));
      },
      release: () => {
        forget();
        unlock();
        this.#meter.poke();
      },
    });
  }

  /** Answers what ends it; to be called once. */
  #receive(backupId: BackupId): () => void {
    this.#receiving.set(backupId, (this.#receiving.get(backupId) ?? 0) + 1);
    return () => {
      const others = (this.#receiving.get(backupId) ?? 1) - 1;
      if (others === 0) this.#receiving.delete(backupId);
      else this.#receiving.set(backupId, others);
    };
  }

  async read(id: BackupIdParts, options: Parameters<Store['read']>[1]): Promise<OpenedPull> {
    const { ceph, locks, reader } = this.#context;
    const close = await locks.acquire(readersOf(id.chain), { mode: 'shared', signal: options.signal });
    try {
      const backup = await this.backup(id, options);
      const image = reader.image(id.chain);
      const [info, snapshots] = await Promise.all([ceph.info(image, options), ceph.snapshots(image, options)]);
      const snap = snapshots.find(({ name }) => name === id.snap);
      if (snap === undefined) throw noBackup(id);
      const diff = { snap: id.snap, fromSnap: null };
      return {
        backup,
        stream: provenDiff(ceph, { image, imageId: info.id, snap, from: null, parent: info.parent }, options),
        estimate: async (options) => estimatedStreamBytes(await ceph.diffExtents(image, diff, options)),
        close,
      };
    } catch (thrown) {
      close();
      throw thrown;
    }
  }

  remove(id: BackupIdParts, options: RemoveOptions): Promise<Removed> {
    return removeBackup(this.#context, id, options);
  }

  removeChain(chain: ChainName, options: RemoveOptions): Promise<Removed> {
    return removeChain(this.#context, chain, options);
  }

  async *usage(image: string | null, options: Options): AsyncGenerator<ChainUsage, void, undefined> {
    const views = await this.#context.reader.many(image, options);
    const active = markActive(views.map((view) => view.chain));
    for (const [index, view] of views.entries()) {
      const chain = active[index];
      if (chain === undefined || chain.backups.length === 0) continue;
      yield await chainUsage(this.#context, { ...view, chain }, options);
    }
  }

  async look(options: Options): Promise<void> {
    await this.#context.ceph.list(this.#context.pool, options);
  }

  async recover(options: Options): Promise<string[]> {
    const { ceph, pool, reader } = this.#context;
    await this.#prepareRemovals(options);
    const names = await ceph.list(pool, options);
    const views = await reader.many(null, {
      ...options,
      onUnreadable: ({ name, error: { code, message } }) => {
        this.#options.log.warn({ chain: name, code, error: message }, 'could not read a chain');
      },
    });
    const listed = new Set<string>(views.map((view) => view.chain.name));
    const changed: string[] = [];
    for (const name of names) {
      const chain = chainOfAbandoned(name, listed);
      if (chain !== undefined && (await this.#alone(chain, () => this.#removeAbandoned(name, options))))
        changed.push(name);
    }
    for (const view of views) {
      const { name } = view.chain;
      if (isUnsettled(view) && (await this.#alone(name, () => settleChain(this.#context, name, options)))) {
        changed.push(name);
      }
    }
    return changed;
  }

  /** @throws what keeps the chain from being put right */
  async #settle(chain: ChainName, options: Options): Promise<void> {
    const release = await lockWithin(this.#context, chain, chain, options);
    try {
      await settleChain(this.#context, chain, options);
    } finally {
      release();
    }
  }

  async close(): Promise<void> {
    await Promise.all(this.#background);
    await Promise.all([this.#meter.close(), this.#later.close()]);
  }

  async #createChain(chain: ChainName, intent: PushIntent, { signal }: Options): Promise<void> {
    const { features, dataPool } = this.#options;
    const image = { ...intent.source.layout, features, dataPool };
    try {
      await createChain(this.#context, chain, { image, state: this.#receivingState(intent), signal });
    } catch (thrown) {
      const isClean =
        !mayHaveMadeImage(thrown) || (await this.#quietly(chain, () => removeNewImage(this.#context, chain, {})));
      if (!isClean) this.#later.add(chain);
      throw thrown;
    }
  }

  /** The state says `receiving` before anything is changed. */
  async #prepareHead(base: BackupIdParts, intent: PushIntent, options: Options): Promise<void> {
    const { ceph, reader } = this.#context;
    let view = await reader.fresh(base.chain, options);
    if (isUnsettled(view)) {
      // Nobody could put it right yet. The state is all that tells of a snapshot without facts, and we are about to overwrite it.
      await settleChain(this.#context, base.chain, options);
      view = await reader.fresh(base.chain, options);
    }
    const found = findBackup(view, base);
    if (view.state === null) {
      throw new FerryError(
        'NO_COMMON_SNAPSHOT',
        `${base.chain} was made by the older tool; increments never build on it`,
      );
    }
    if (found.client !== intent.client) throw noBackup(base);
    if (view.state.kind === 'unknown') {
      throw new FerryError('PROTOCOL_MISMATCH', `${base.chain} was written by a newer release of rbdferry`, {
        hint: 'update the receiver, or make a full backup',
      });
    }
    if (view.snapshots.some((snapshot) => snapshot.name === intent.snap)) {
      throw new FerryError('SNAPSHOT_EXISTS', `${base.chain} has a snapshot ${intent.snap} already`);
    }
    const image = reader.image(base.chain);
    const saysBase = view.state.kind === 'clean' && view.state.head === base.snap;
    // Not at the same time as a change of the image: see `RbdOpenedPush.commit`.
    const headIsBase = saysBase && !(await this.#headWasTouched(image, base, options));
    await reader.setMetadata(base.chain, stateKey, encodeState(this.#receivingState(intent)), options);
    if (headIsBase) return;
    await untilUnused(this.#context, image, options);
    await ceph.rollback(image, base.snap, options);
  }

  /**
   * An increment lands on whatever the head is: somebody may have written into the image, though nobody should. Without fast-diff the look
   * would take as long as reading the image's every object.
   */
  async #headWasTouched(image: ImageSpec, { chain, snap }: BackupIdParts, options: Options): Promise<boolean> {
    if (!this.#options.features.includes('fast-diff')) return false;
    const touched = await this.#context.ceph.headMayDiffer(image, snap, options);
    if (touched)
      this.#context.log.info(
        { chain, snap },
        'the head of a chain is not known to equal its newest backup: rolled back',
      );
    return touched;
  }

  /** Runs a step of the recovery unless somebody holds the chain, who then found it clean or cleans it up. */
  async #alone(chain: string, step: () => Promise<boolean>): Promise<boolean> {
    const release = this.#context.locks.tryAcquire(chain);
    if (release === undefined) return false;
    try {
      return await step();
    } catch (thrown) {
      this.#context.log.warn({ chain, error: toFerryError(thrown).message }, 'could not clean up a chain yet');
      this.#later.add(chain as ChainName);
      return false;
    } finally {
      release();
    }
  }

  /** `rbd rm` that was broken off leaves a name without an image; doing it again finishes it. An image that is there stays. */
  async #removeAbandoned(name: string, options: Options): Promise<boolean> {
    const { ceph, reader } = this.#context;
    if (!isNewImage(name) && (await isThere(ceph.info(reader.image(name), options)))) return false;
    return removeImage(this.#context, name, options);
  }

  #receivingState({ snap, base, client }: PushIntent): KnownHeadState {
    const since = new Date(this.#options.now()).toISOString();
    return { kind: 'receiving', v: 1, snap, base: base?.snap ?? null, client, since };
  }

  /** Never rejects. */
  async #cleanUp(chain: ChainName): Promise<void> {
    if (!(await this.#quietly(chain, () => settleChain(this.#context, chain, {})))) this.#later.add(chain);
  }

  /** Answers whether that is settled, which cannot be seen while somebody holds the chain. */
  async #cleanUpAgain(chain: ChainName, signal: AbortSignal): Promise<boolean> {
    const release = this.#context.locks.tryAcquire(chain);
    if (release === undefined) return false;
    try {
      return await this.#quietly(chain, async () => {
        await settleChain(this.#context, chain, { signal });
        await removeNewImage(this.#context, chain, { signal });
        await this.#removeAbandoned(chain, { signal });
      });
    } finally {
      release();
    }
  }

  /** Deletion must work on a store that has become full. */
  async #prepareRemovals(options: Options): Promise<void> {
    const { ceph, pool, log } = this.#context;
    try {
      await ceph.prepareRemovals(pool, options);
    } catch (thrown) {
      const error = toFerryError(thrown);
      log.warn(
        { code: error.code, error: error.message },
        'could not make the trash; a full pool may refuse deletions',
      );
    }
  }

  /** Answers whether the step succeeded. */
  async #quietly(image: string, step: () => Promise<unknown>): Promise<boolean> {
    try {
      await step();
      return true;
    } catch (thrown) {
      const error = toFerryError(thrown);
      this.#context.log.warn({ image, code: error.code, error: error.message }, 'could not clean up yet');
      return false;
    }
  }
}

const newChainName = ({ source, snap }: PushIntent): ChainName => {
  const time = snapTime(snap);
  if (time === undefined) throw new FerryError('INVALID_REQUEST', `${snap} is not TIMESTAMP.snap`);
  return chainNameOf(source.identity.image.image, time);
};

/** The chain whose lock guards a name that stands for nothing whole: a new image, or one that the listing did not find. */
const chainOfAbandoned = (name: string, listed: ReadonlySet<string>): string | undefined => {
  if (isNewImage(name)) return chainOfNewImage(name);
  return splitChainName(name) !== undefined && !listed.has(name) ? name : undefined;
};

const isThere = async (step: Promise<unknown>): Promise<boolean> => {
  try {
    await step;
    return true;
  } catch (thrown) {
    if (toFerryError(thrown).code === 'IMAGE_NOT_FOUND') return false;
    throw thrown;
  }
};
