import { FerryError, toFerryError } from '@rbdferry/core/errors/ferry-error.js';
import type { Release } from '@rbdferry/core/lifecycle/keyed-lock.js';
import type { Logger } from '@rbdferry/core/log/logger.js';
import {
  chainNameOf,
  formatBackupId,
  snapTime,
  type BackupId,
  type BackupIdParts,
  type ChainName,
} from '@rbdferry/core/model/backup-id.js';
import { markActive, type Backup, type Chain, type ChainUsage } from '@rbdferry/core/model/chain.js';
import type { HoldTerms } from '@rbdferry/core/model/hold.js';
import { baseRefusal } from './base-refusal.js';
import { changeHold, heldIn, withoutEndedHold } from './change-hold.js';
import { ChainLocks } from './chain-locks.js';
import { chainUsage } from './chain-usage.js';
import type { DriverPush, FoundChain, StoreDriver, StoreHost } from './driver.js';
import { findBackup, hasBackup, noBackup } from './find-backup.js';
import { GuardedPush } from './guarded-push.js';
import type {
  HoldChange,
  HoldOptions,
  LookOptions,
  OpenedPull,
  OpenedPush,
  Options,
  PushIntent,
  ReadOptions,
  Removed,
  RemoveOptions,
  Store,
} from './port.js';
import { Receiving } from './receiving.js';
import { Settler } from './settler.js';
import { UsageMeter } from './usage-meter.js';

export interface GuardedStoreOptions<View extends FoundChain> {
  readonly name: string;
  readonly log: Logger;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  /** Makes the driver of the store. */
  readonly driver: (host: StoreHost) => StoreDriver<View>;
}

/** What every store promises, whatever kind it is: it stands before the driver of its kind, which does what is asked and knows no one else. */
export class GuardedStore<View extends FoundChain> implements Store {
  readonly name: string;
  readonly #log: Logger;
  readonly #now: () => number;
  readonly #driver: StoreDriver<View>;
  readonly #locks = new ChainLocks();
  readonly #receiving = new Receiving();
  readonly #background = new Set<Promise<void>>();
  readonly #meter: UsageMeter<View>;
  readonly #settler: Settler;

  constructor({ name, log, now, driver }: GuardedStoreOptions<View>) {
    this.name = name;
    this.#log = log;
    this.#now = now;
    this.#driver = driver({
      name,
      log,
      now,
      settleLater: (chain) => {
        this.#settler.later(chain);
      },
      unlessChanging: (chain, step) => this.#unlessChanging(chain, step),
    });
    this.#settler = new Settler({ driver: this.#driver, locks: this.#locks, log });
    this.#meter = new UsageMeter({ driver: this.#driver, log, isIdle: () => this.#receiving.isNone });
  }

  async *chains(image: string | null, options: LookOptions): AsyncGenerator<Chain, void, undefined> {
    const views = await this.#driver.chains(image, options);
    const nowMs = this.#now();
    const chains = views.map(({ chain }) => ({
      ...chain,
      backups: chain.backups.map((backup) => withoutEndedHold(backup, nowMs)),
    }));
    yield* markActive(chains.filter((chain) => chain.backups.length > 0));
  }

  async backup(id: BackupIdParts, options: Options): Promise<Backup> {
    return withoutEndedHold(findBackup(await this.#decidedFor(id, options), id), this.#now());
  }

  async open(intent: PushIntent, options: Options): Promise<OpenedPush> {
    const chain = intent.base?.chain ?? newChainName(intent);
    const backupId = formatBackupId({ store: this.name, chain, snap: intent.snap });
    const release = await this.#holdFor(backupId, chain, options);
    const cleanUp = () => this.#settler.settleHeld(chain);
    let push: DriverPush;
    try {
      push = await this.#prepare(chain, intent, options);
    } catch (thrown) {
      await cleanUp();
      release();
      throw toFerryError(thrown);
    }
    return new GuardedPush({
      push,
      intent,
      backupId,
      log: this.#log,
      now: this.#now,
      cleanUp,
      background: (work) => {
        this.#background.add(work);
        void work.finally(() => this.#background.delete(work));
      },
      onConcluded: () => {
        this.#meter.add(chain, intent.snap);
      },
      release: () => {
        release();
        this.#meter.poke();
      },
    });
  }

  async read(id: BackupIdParts, options: ReadOptions): Promise<OpenedPull> {
    const close = await this.#locks.toRead(id.chain, options);
    try {
      const known = this.#driver.known(id.chain);
      const view = known !== null && hasBackup(known, id) ? known : await this.#decidedFor(id, options);
      const backup = withoutEndedHold(findBackup(view, id), this.#now());
      const { stream, estimate } = await this.#driver.read(view, backup, options);
      return { backup, stream, estimate, close };
    } catch (thrown) {
      close();
      throw thrown;
    }
  }

  remove(id: BackupIdParts, options: RemoveOptions): Promise<Removed> {
    return this.#removing(id.chain, options, async (view) => {
      const backup = findBackup(view, id);
      if (!options.mayRemove(backup.client)) throw noBackup(id);
      const isHeld = heldIn(view, this.#now()).get(backup.id);
      if (isHeld !== undefined) throw isHeld;
      const asked = { ...options, held: new Map<BackupId, FerryError>() };
      if (view.chain.backups.length > 1) return this.#driver.removeBackup(view, backup, asked);
      const removed = await this.#driver.removeChain(view, asked);
      const [kept] = removed.kept;
      if (kept !== undefined) throw kept.reason;
      return removed;
    });
  }

  removeChain(chain: ChainName, options: RemoveOptions): Promise<Removed> {
    return this.#removing(chain, options, async (view) => {
      const { backups } = view.chain;
      const isThere = backups.length > 0 || view.isLeftover;
      if (!isThere || !backups.every((backup) => options.mayRemove(backup.client))) {
        throw new FerryError('BACKUP_NOT_FOUND', `there is no chain ${chain} in store ${this.name}`);
      }
      return this.#driver.removeChain(view, { ...options, held: heldIn(view, this.#now()) });
    });
  }

  async setHold(id: BackupIdParts, terms: HoldTerms | null, options: HoldOptions): Promise<HoldChange> {
    const release = await this.#locks.toChange(id.chain, options);
    try {
      return await changeHold({ driver: this.#driver, now: this.#now }, id, terms, options);
    } catch (thrown) {
      throw toFerryError(thrown).code === 'BACKUP_NOT_FOUND' ? noBackup(id) : thrown;
    } finally {
      release();
    }
  }

  async *usage(image: string | null, options: LookOptions): AsyncGenerator<ChainUsage, void, undefined> {
    const views = await this.#driver.chains(image, options);
    const active = markActive(views.map((view) => view.chain));
    for (const [index, view] of views.entries()) {
      const chain = active[index];
      if (chain === undefined || chain.backups.length === 0) continue;
      yield await chainUsage(this.#driver, { view, isActive: chain.active }, options);
    }
  }

  look(options: Options): Promise<void> {
    return this.#driver.ping(options);
  }

  async recover(options: Options): Promise<string[]> {
    const changed: string[] = [];
    for (const leftover of await this.#driver.leftovers(options)) {
      if (await this.#settler.clean(leftover)) changed.push(leftover.name);
    }
    return changed;
  }

  async close(): Promise<void> {
    await Promise.all(this.#background);
    await Promise.all([this.#meter.close(), this.#settler.close()]);
  }

  /** Holds a chain for a transfer into it. Who has lost us asks for the backup, and from here on waits until it is decided. */
  async #holdFor(backupId: BackupId, chain: ChainName, options: Options): Promise<Release> {
    const forget = this.#receiving.begin(backupId);
    try {
      const unlock = await this.#locks.toChange(chain, options);
      return () => {
        forget();
        unlock();
      };
    } catch (thrown) {
      forget();
      throw thrown;
    }
  }

  /** The chain is held. */
  async #prepare(chain: ChainName, intent: PushIntent, options: Options): Promise<DriverPush> {
    const { base } = intent;
    if (base === null) return this.#driver.create(chain, intent, options);
    const increment = { ...intent, base };
    // The list of chains that the sender planned by was read a moment ago, and nobody else changes the chain now.
    const known = this.#driver.known(chain);
    if (known !== null && !known.isUnsettled && baseRefusal(known, increment) === null) {
      return this.#driver.extend(known, increment, options);
    }
    let view = await this.#driver.look(chain, options);
    if (view.isUnsettled) {
      // What broke off there could not be put right before. Only the chain's own note tells of it, and a transfer overwrites that.
      await this.#driver.settle(chain, options);
      view = await this.#driver.look(chain, options);
    }
    const refusal = baseRefusal(view, increment);
    if (refusal !== null) throw refusal;
    return this.#driver.extend(view, increment, options);
  }

  /** The chain of a backup, when it is decided whether there is such a backup. @throws BACKUP_NOT_FOUND when there is no such chain */
  async #decidedFor(id: BackupIdParts, options: Options): Promise<View> {
    if (this.#receiving.has(formatBackupId(id))) {
      // Its sender may have lost us in the middle of the commit and asks how it ended.
      await this.#locks.untilUnchanging(id.chain, options);
    }
    try {
      const view = await this.#driver.look(id.chain, options);
      if (view.unfinished !== id.snap || hasBackup(view, id)) return view;
      // An earlier life of ours died while it made this very backup. Nobody is answered before that is decided.
      await this.#settler.settle(id.chain, options);
      return await this.#driver.look(id.chain, options);
    } catch (thrown) {
      // Who asked for a backup hears of that backup, though its whole chain is missing.
      throw toFerryError(thrown).code === 'BACKUP_NOT_FOUND' ? noBackup(id) : thrown;
    }
  }

  /**
   * Holds off transfers into the chain and pulls from it while `step` runs. Whether a backup that an earlier life was making is one is decided
   * before; anything else that broke off may stay as it is: what can be removed is known without.
   */
  async #removing<T>(chain: ChainName, options: Options, step: (view: View) => Promise<T>): Promise<T> {
    const release = await this.#locks.toRemove(chain, options);
    try {
      let view = await this.#driver.look(chain, options);
      if (view.isUndecided) {
        await this.#driver.settle(chain, options);
        view = await this.#driver.look(chain, options);
      }
      return await step(view);
    } finally {
      release();
    }
  }

  async #unlessChanging(chain: ChainName, step: () => Promise<void>): Promise<void> {
    const release = this.#locks.tryToChange(chain);
    try {
      if (release !== undefined) await step();
    } finally {
      release?.();
    }
  }
}

const newChainName = ({ source, snap }: PushIntent): ChainName => {
  const time = snapTime(snap);
  if (time === undefined) throw new FerryError('INVALID_REQUEST', `${snap} is not TIMESTAMP.snap`);
  return chainNameOf(source.identity.image.image, time);
};
