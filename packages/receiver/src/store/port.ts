import type { KeptBackup } from '@rbdferry/core/wire/kept-backup.js';
import type { ByteSource } from '@rbdferry/core/ceph/port.js';
import type { FerryError } from '@rbdferry/core/errors/ferry-error.js';
import type { Hold, HoldTerms } from '@rbdferry/core/model/hold.js';
import type { BackupId, BackupIdParts, ChainName, SnapName } from '@rbdferry/core/model/backup-id.js';
import type { RbdLife } from '@rbdferry/core/transfer/life.js';
import type { Backup, Chain, ChainUsage, SourceFacts, StreamEnd } from '@rbdferry/core/model/chain.js';

export interface Options {
  readonly signal?: AbortSignal | undefined;
}

export interface ReadOptions extends Options {
  /** Told of signs of life of the stream, which may give no bytes for long. */
  readonly onAlive?: (() => void) | undefined;
}

/** A chain that is there and cannot be read (or measured), and why. */
export interface UnreadableChain {
  readonly name: ChainName;
  readonly error: FerryError;
}

export interface LookOptions extends Options {
  /** Told of each chain that is left out because it cannot be read. Without it the first such chain fails the whole look. */
  readonly onUnreadable?: ((chain: UnreadableChain) => void) | undefined;
}

/**
 * A place that holds backups. Promises of every store:
 *
 * - a backup is listed if and only if it is whole and restorable;
 * - a transfer that does not reach `commit`, for whatever reason, leaves every listed backup as it was;
 * - removing a backup leaves every other one restorable;
 * - a backup that is held is not removed, by whatever way, before the hold has ended or was taken off;
 * - two transfers never change the same chain at once.
 */
export interface Store {
  readonly name: string;

  /** Chains in order of name, optionally only those of images of one name (whatever their pool). */
  chains(image: string | null, options: LookOptions): AsyncIterable<Chain>;

  /** While that very backup is being received, waits for the outcome. @throws BACKUP_NOT_FOUND */
  backup(id: BackupIdParts, options: Options): Promise<Backup>;

  /**
   * Makes room for a backup: a new chain, or the chain of `base` with its head made equal to the base.
   * Waits a moment for a transfer into the same chain to end. @throws BACKUP_NOT_FOUND, IMAGE_BUSY
   */
  open(intent: PushIntent, options: Options): Promise<OpenedPush>;

  /** The backup's whole content as a full diff stream. @throws BACKUP_NOT_FOUND */
  read(id: BackupIdParts, options: ReadOptions): Promise<OpenedPull>;

  /**
   * Removes one backup; with the last one the chain goes. Once begun it is not broken off, whoever goes away.
   * @throws BACKUP_NOT_FOUND, IMAGE_BUSY, BACKUP_IN_USE, BACKUP_HELD
   */
  remove(id: BackupIdParts, options: RemoveOptions): Promise<Removed>;

  /**
   * Removes a whole chain, but for backups that cannot go. Once begun it is not broken off, and what a death of the receiver leaves
   * half done is finished when it starts again. @throws BACKUP_NOT_FOUND, IMAGE_BUSY; BACKUP_HELD when the chain goes as a whole or not at all
   */
  removeChain(chain: ChainName, options: RemoveOptions): Promise<Removed>;

  /**
   * Puts a hold on a backup in place of any that it has, or takes it off (null). Waits a moment for whoever changes the chain: a backup whose
   * removal was begun is gone, and one that is held is not removed. @throws BACKUP_NOT_FOUND, IMAGE_BUSY, INVALID_REQUEST
   */
  setHold(id: BackupIdParts, terms: HoldTerms | null, options: HoldOptions): Promise<HoldChange>;

  /** What the chains of one image, or of all, take up. Measures what was not measured yet. */
  usage(image: string | null, options: LookOptions): AsyncIterable<ChainUsage>;

  /** Whether it can be read at all, which is looked at again and again. Cheap. @throws POOL_NOT_FOUND, NAMESPACE_NOT_FOUND, CEPH_* */
  look(options: Options): Promise<void>;

  /** Cleans up what an earlier life of the daemon left half done. Answers the names of the chains it changed. */
  recover(options: Options): Promise<string[]>;

  /** Ends what it does in the background. */
  close(): Promise<void>;
}

export interface RemoveOptions extends Options {
  /** Only checks that it could be done. */
  readonly dryRun: boolean;
  /** Who asks. */
  readonly client: string;
  /** Decides whether the asker may remove backups of this client (null: of the older tool). */
  readonly mayRemove: (client: string | null) => boolean;
}

export interface HoldOptions extends Options {
  /** Who asks. */
  readonly client: string;
  /** Decides whether the asker may know of backups of this client (null: of the older tool). */
  readonly maySee: (client: string | null) => boolean;
}

export interface HoldChange {
  /** As it is now. */
  readonly backup: Backup;
  /** The hold that was in force before; null when there was none. */
  readonly before: Hold | null;
}

export interface Removed {
  readonly backupIds: readonly BackupId[];
  /** Those that were asked to go and stay, each with the reason. They are listed as before and can be removed later. */
  readonly kept: readonly KeptBackup[];
  readonly chainRemoved: boolean;
  /** When the trash lets go of the chain's image; null when it is gone for good, or still there. */
  readonly trashedUntil: Date | null;
}

export interface PushIntent {
  readonly source: SourceFacts;
  readonly snap: SnapName;
  /** Null for a full. */
  readonly base: BackupIdParts | null;
  readonly client: string;
}

/** What is known of a stream once it is whole. */
export interface StreamFacts extends StreamEnd {
  readonly dataBytes: bigint;
}

/** A chain held for one transfer. Exactly one of `commit` and `discard` ends it. */
export interface OpenedPush {
  readonly backupId: BackupId;
  /** The stream comes now: what takes time to start may start. Signs of its work go to `life`. */
  begin(life: RbdLife): void;
  /** Part of the stream, without its final end record. Once it resolves the chunk is used again: keep none of it. @throws the store's own failure */
  write(chunk: Uint8Array): Promise<void>;
  /** Adds the end record and makes the backup durable. When it throws nothing was committed, and it has cleaned up. */
  commit(stream: StreamFacts): Promise<Backup>;
  /** Puts the chain back to its last committed backup, or removes a new chain. Never throws: what it could not clean is left to the next transfer. */
  discard(): Promise<void>;
}

export interface OpenedPull {
  readonly backup: Backup;
  readonly stream: ByteSource;
  /** About how many bytes the stream will have; looks at the whole image. */
  estimate(options: Options): Promise<bigint>;
  /** Must be called when done with the stream. */
  close(): void;
}
