import { FerryError } from '@rbdferry/core/errors/ferry-error.js';
import { formatBackupId, type BackupIdParts, type ChainName } from '@rbdferry/core/model/backup-id.js';
import type { Backup, Chain, ChainUsage } from '@rbdferry/core/model/chain.js';
import type { HoldTerms } from '@rbdferry/core/model/hold.js';
import type { HoldChange, OpenedPull, OpenedPush, PushIntent, Removed, Store, UnreadableChain } from './store/port.js';

interface Options {
  readonly signal?: AbortSignal | undefined;
}

/** A chain that cannot be read, as a client may know of it. */
export interface ToldChain {
  readonly store: string;
  /** Empty when it may be another client's. */
  readonly name: string;
  readonly error: FerryError;
}

type Told<T> =
  { readonly kind: 'seen'; readonly value: T } | { readonly kind: 'unreadable'; readonly chain: ToldChain };

/**
 * A store as one client sees it: with its own backups and those of the older tool, which say nothing of their client, and without a trace of
 * others. The one place that knows who may see and do what in a store; whoever answers a client has nothing else in hand.
 */
export class ClientStore {
  readonly #store: Store;
  readonly #client: string;
  readonly #isAlone: boolean;

  /** @param isAlone whether no other client may use the store */
  constructor(store: Store, client: string, { isAlone }: { readonly isAlone: boolean }) {
    this.#store = store;
    this.#client = client;
    this.#isAlone = isAlone;
  }

  /** Chains with what the client may see of them, and then those that cannot be read. */
  async *chains(image: string | null, { signal }: Options): AsyncGenerator<Told<Chain>, void, undefined> {
    const unreadable: UnreadableChain[] = [];
    const onUnreadable = (chain: UnreadableChain) => unreadable.push(chain);
    for await (const chain of this.#store.chains(image, { signal, onUnreadable })) {
      const backups = chain.backups.filter((backup) => this.#sees(backup.client));
      if (backups.length > 0) yield { kind: 'seen', value: { ...chain, backups } };
    }
    for (const chain of unreadable) yield { kind: 'unreadable', chain: this.#told(chain) };
  }

  /** @throws BACKUP_NOT_FOUND */
  async backup(id: BackupIdParts, options: Options): Promise<Backup> {
    const backup = await this.#store.backup(id, options);
    if (this.#sees(backup.client)) return backup;
    throw hidden(id);
  }

  /** @throws BACKUP_NOT_FOUND, IMAGE_BUSY */
  open(intent: Omit<PushIntent, 'client'>, options: Options): Promise<OpenedPush> {
    return this.#store.open({ ...intent, client: this.#client }, options);
  }

  /** @throws BACKUP_NOT_FOUND */
  async read(
    id: BackupIdParts,
    options: Options & { readonly onAlive?: (() => void) | undefined },
  ): Promise<OpenedPull> {
    const pull = await this.#store.read(id, options);
    if (this.#sees(pull.backup.client)) return pull;
    pull.close();
    throw hidden(id);
  }

  /** @param terms null to take a hold off @throws BACKUP_NOT_FOUND, IMAGE_BUSY, INVALID_REQUEST */
  setHold(id: BackupIdParts, terms: HoldTerms | null, options: Options): Promise<HoldChange> {
    const maySee = (owner: string | null) => this.#sees(owner);
    return this.#store.setHold(id, terms, { ...options, client: this.#client, maySee });
  }

  /** @throws BACKUP_NOT_FOUND, IMAGE_BUSY, BACKUP_IN_USE, BACKUP_HELD */
  remove(id: BackupIdParts, options: Options & { readonly dryRun: boolean }): Promise<Removed> {
    return this.#store.remove(id, { ...options, ...this.#asRemover });
  }

  /** @throws BACKUP_NOT_FOUND, IMAGE_BUSY, BACKUP_HELD */
  removeChain(chain: ChainName, options: Options & { readonly dryRun: boolean }): Promise<Removed> {
    return this.#store.removeChain(chain, { ...options, ...this.#asRemover });
  }

  /**
   * What the chains of an image take up, and then those that cannot be read or measured.
   *
   * @param of each null for all
   */
  async *usage(
    of: { readonly image: string | null; readonly chain: string | null },
    { signal }: Options,
  ): AsyncGenerator<Told<ChainUsage>, void, undefined> {
    const unreadable: UnreadableChain[] = [];
    const onUnreadable = (chain: UnreadableChain) => unreadable.push(chain);
    const isWanted = (chain: string) => of.chain === null || of.chain === chain;
    for await (const usage of this.#store.usage(of.image, { signal, onUnreadable })) {
      // One without backups went while it was measured.
      const isThere = usage.backups.length > 0;
      if (isThere && isWanted(usage.chain) && this.#sees(usage.client)) yield { kind: 'seen', value: usage };
    }
    for (const chain of unreadable.map((each) => this.#told(each))) {
      if (isWanted(chain.name)) yield { kind: 'unreadable', chain };
    }
  }

  get #asRemover() {
    return { client: this.#client, mayRemove: (owner: string | null) => this.#sees(owner) };
  }

  #sees(owner: string | null): boolean {
    return owner === null || owner === this.#client;
  }

  /** Whose it is cannot be read either: where there are others, a client hears only that there are such chains. */
  #told({ name, error }: UnreadableChain): ToldChain {
    const store = this.#store.name;
    if (this.#isAlone) return { store, name, error };
    return { store, name: '', error: new FerryError(error.code, 'a chain of the store cannot be read') };
  }
}

/** The same words as for a backup that does not exist: a client learns nothing of others. */
const hidden = (id: BackupIdParts): FerryError =>
  new FerryError('BACKUP_NOT_FOUND', `there is no backup ${formatBackupId(id)}`);
