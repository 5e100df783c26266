import type { FerryError } from '@rbdferry/core/errors/ferry-error.js';
import type { Logger } from '@rbdferry/core/log/logger.js';
import type { BackupId, BackupIdParts, ChainName, SnapName } from '@rbdferry/core/model/backup-id.js';
import type { Backup, Chain, SourceFacts } from '@rbdferry/core/model/chain.js';
import type { Hold } from '@rbdferry/core/model/hold.js';
import type { RbdLife } from '@rbdferry/core/transfer/life.js';
import type { LookOptions, OpenedPull, Options, PushIntent, ReadOptions, Removed, RemoveOptions } from './port.js';

/**
 * What a kind of store can do with the chains in its place. It is the narrow part of a store: what every store promises beside (one writer a
 * chain, who may see what, waiting for a commit, cleaning up later) is kept by the guard that stands before it, `GuardedStore`.
 *
 * What the guard promises its driver:
 *
 * - No two calls that change one chain overlap: `create` or `extend` until their push was concluded or aborted, `settle`, `clean` of a
 *   leftover, `removeBackup`, `removeChain`, `setHold`, and steps of `StoreHost.unlessChanging`. Different chains are changed at the same time.
 * - No backup of a chain is removed while one of the chain's backups is read.
 * - A view that it hands back for a change is of a look while nobody else could change the chain, or, for `extend`, what was `known` then.
 * - After a change that failed it calls `settle`, and when that fails as well, again and again until it succeeds.
 * - Of the older tool's chains none is extended, and no backup is handed in that a look has not shown.
 *
 * What the driver promises: `Store` in port.ts, as far as it concerns one chain. A look may come at any time, beside any change. Wherever the
 * process dies, a look shows whole backups only, and the next life's `leftovers` and `settle` put the rest right.
 *
 * @typeParam View what a look finds, which the driver gets back when something is to be done with the chain
 */
export interface StoreDriver<View extends FoundChain> {
  /** Whether the place can be read at all, which is asked again and again. Cheap. @throws POOL_NOT_FOUND, NAMESPACE_NOT_FOUND, CEPH_* */
  ping(options: Options): Promise<void>;

  /** Looks at chains in order of name, optionally only at those that are named for images of one name or hold backups of one. */
  chains(image: string | null, options: LookOptions): Promise<View[]>;

  /** Looks at one chain as it is now. @throws BACKUP_NOT_FOUND when there is none */
  look(chain: ChainName, options: Options): Promise<View>;

  /**
   * A chain as this process saw it last, with what it changed there since, or null when that is not known. Costs nothing. What others did by
   * hand is not in it, so nobody is refused by it; `extend` and `read` find by what they do whether it is still so.
   */
  known(chain: ChainName): View | null;

  /** Makes a new chain, in which nothing is listed before the push into it was committed. @throws STORE_NOT_FOUND */
  create(chain: ChainName, intent: PushIntent, options: Options): Promise<DriverPush>;

  /**
   * Makes a chain ready to take what was changed since the base, which is one of its backups. Its content becomes equal to the base, whatever
   * was done to it by hand. @throws BACKUP_NOT_FOUND when the base is gone, and then nothing was changed
   */
  extend(view: View, intent: PushIntent & { readonly base: BackupIdParts }, options: Options): Promise<DriverPush>;

  /**
   * A backup's whole content as a full diff stream, which ends well only when all of it was there until its end.
   * @throws BACKUP_NOT_FOUND when the backup is gone
   */
  read(view: View, backup: Backup, options: ReadOptions): Promise<DriverPull>;

  /** Removes one of several backups; the others stay whole. @throws BACKUP_IN_USE with the reason why it cannot go */
  removeBackup(view: View, backup: Backup, options: DriverRemoveOptions): Promise<Removed>;

  /**
   * Removes the chain, but for backups that cannot go; those that are `held` are among these. Once begun it goes on, whoever goes away.
   * @throws BACKUP_HELD when one is held and the chain goes as a whole or not at all
   */
  removeChain(view: View, options: DriverRemoveOptions): Promise<Removed>;

  /** Writes down, with the backup, that it is held, or (null) that it is not. It is part of every look from then on, and goes with the backup. */
  setHold(view: View, backup: Backup, hold: Hold | null, options: Options): Promise<void>;

  /**
   * Bytes of data that a backup added to the one before it in its chain. May take long at the first time.
   * @throws SNAPSHOT_NOT_FOUND, IMAGE_NOT_FOUND when one of them went while it was measured
   */
  addedBytes(view: View, of: Increment, options: Options): Promise<bigint>;

  /**
   * Ends what broke off on a chain, a transfer or a deletion, or finds nothing to do. There need not be such a chain. Answers whether it
   * changed anything. @throws what keeps it from being put right
   */
  settle(chain: ChainName, options: SettleOptions): Promise<boolean>;

  /** What an earlier life of the daemon has left half done anywhere in the place. Looks only, but for what prepares the place itself. */
  leftovers(options: Options): Promise<Leftover[]>;
}

/** What a look finds of a chain. A driver adds what it needs to go on from there. */
export interface FoundChain {
  /** With whole backups only. One in which nothing is listed has none. */
  readonly chain: Omit<Chain, 'active'>;
  /** The snapshot of the backup that is being made, or whose making broke off; null when there is none. */
  readonly unfinished: SnapName | null;
  /** Whether that one may be whole, though nobody said so: then it is not among the chain's backups before `settle` has decided. */
  readonly isUndecided: boolean;
  /** Whether a transfer or a deletion is under way, or broke off, so that `settle` would have something to do. */
  readonly isUnsettled: boolean;
  /** Whether a removal that broke off has left nothing in it, neither a backup nor anything of somebody else's. */
  readonly isLeftover: boolean;
  /** Whether a newer release wrote what this one cannot read: nothing is built on it. */
  readonly isNewer: boolean;
  /** Names that no new backup of the chain can have. */
  readonly takenNames: ReadonlySet<string>;
}

/** A chain that takes one stream. `commit` follows `seal`, `conclude` follows `commit`; until it is committed `abort` may end it. */
export interface DriverPush {
  /** The stream comes now: what takes time to start may start. Signs of its work go to `life`. */
  begin(life: RbdLife): void;
  /** Part of the stream, without its final end record. Once it resolves the chunk is used again: keep none of it. */
  write(chunk: Uint8Array): Promise<void>;
  /** The stream is whole: makes its content durable and looks whether that is so. Nothing is listed yet. @throws VERIFY_FAILED */
  seal(): Promise<void>;
  /** Writes down the backup, which is listed from then on. Answers what was written: it may have less of the source's metadata. */
  commit(backup: NewBackup): Promise<Backup>;
  /** What is left to do after the commit and concerns nobody else. When it fails, or the process dies, `settle` does it. */
  conclude(): Promise<void>;
  /** Stops taking anything, and resolves when nothing writes any more. Never throws. What is there then is for `settle`. */
  abort(): Promise<void>;
}

/** A backup as it is to be written down. */
export type NewBackup = Backup & { readonly source: SourceFacts; readonly client: string };

export type DriverPull = Pick<OpenedPull, 'stream' | 'estimate'>;

/** A backup and what it is compared with. */
export interface Increment {
  readonly backup: Backup;
  /** The backup before it in the chain; null for the first one. */
  readonly previous: SnapName | null;
}

export interface DriverRemoveOptions extends Omit<RemoveOptions, 'mayRemove'> {
  /** Backups that are held, each with what is told of it. Empty where only such backups are handed in as may go. */
  readonly held: ReadonlyMap<BackupId, FerryError>;
}

export interface SettleOptions extends Options {
  /** Also looks for what no look at the chain shows, such as parts of one that never got its name. Asked for when `settle` has failed before. */
  readonly isThorough?: boolean;
}

/** Something that was begun and not ended. */
export interface Leftover {
  readonly chain: ChainName;
  /** What an operator finds it by in the place. */
  readonly name: string;
  /** Finishes it or takes it away. Answers whether that changed anything. */
  readonly clean: () => Promise<boolean>;
}

/** What a driver may ask of the store that it is in. */
export interface StoreHost {
  /** The store's. */
  readonly name: string;
  readonly log: Logger;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  /** Takes over a chain that could not be put right or removed whole: `settle` is called until it succeeds. */
  readonly settleLater: (chain: ChainName) => void;
  /** Runs a step that changes a chain, unless somebody is changing it just now; then the step is left out. */
  readonly unlessChanging: (chain: ChainName, step: () => Promise<void>) => Promise<void>;
}
