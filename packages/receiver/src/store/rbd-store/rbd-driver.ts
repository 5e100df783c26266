import { estimatedStreamBytes } from '@rbdferry/core/ceph/diff-extents.js';
import { provenDiff } from '@rbdferry/core/ceph/proven-diff.js';
import { FerryError, toFerryError } from '@rbdferry/core/errors/ferry-error.js';
import type { BackupIdParts, ChainName } from '@rbdferry/core/model/backup-id.js';
import type { Backup } from '@rbdferry/core/model/chain.js';
import type { Hold } from '@rbdferry/core/model/hold.js';
import type {
  DriverPull,
  DriverPush,
  DriverRemoveOptions,
  Increment,
  Leftover,
  SettleOptions,
  StoreDriver,
  StoreHost,
} from '../driver.js';
import type { LookOptions, Options, PushIntent, ReadOptions, Removed } from '../port.js';
import { encodeHold, holdKey } from './backup-meta.js';
import { ChainReader } from './chain-reader.js';
import type { ChainView } from './chain-view.js';
import type { RbdStoreOptions, StoreContext } from './context.js';
import { leftovers, settleThoroughly } from './leftovers.js';
import { createChain, removeNewImage } from './new-chain.js';
import { prepareHead } from './prepare-head.js';
import { RbdPush } from './rbd-push.js';
import { receivingState } from './receiving-state.js';
import { removeBackup, removeChain } from './remove.js';
import { settleChain } from './settle-chain.js';
import { addedBytes } from './usage.js';

/** Backups as RBD images in a pool: an image for each chain, a snapshot for each backup, facts in image-meta. */
export class RbdDriver implements StoreDriver<ChainView> {
  readonly #context: StoreContext;

  constructor(options: RbdStoreOptions, host: StoreHost) {
    const { ceph, pool } = options;
    this.#context = { ...options, ...host, reader: new ChainReader({ ceph, store: host.name, pool }) };
  }

  async ping(options: Options): Promise<void> {
    await this.#context.ceph.list(this.#context.pool, options);
  }

  chains(image: string | null, options: LookOptions): Promise<ChainView[]> {
    return this.#context.reader.many(image, options);
  }

  look(chain: ChainName, options: Options): Promise<ChainView> {
    return this.#context.reader.fresh(chain, options);
  }

  known(chain: ChainName): ChainView | null {
    return this.#context.reader.known(chain);
  }

  async create(chain: ChainName, intent: PushIntent, { signal }: Options): Promise<DriverPush> {
    const { features, dataPool, now, log, settleLater } = this.#context;
    const image = { ...intent.source.layout, features, dataPool };
    let mayBeThere = false;
    const onMade = (): void => {
      mayBeThere = true;
    };
    try {
      await createChain(this.#context, chain, { image, state: receivingState(intent, now()), signal, onMade });
    } catch (thrown) {
      // A cluster that does not answer would not answer this either; whoever waits for the error waits for it long enough.
      if (mayBeThere && toFerryError(thrown).code === 'CEPH_UNAVAILABLE') settleLater(chain);
      else if (mayBeThere) {
        await removeNewImage(this.#context, chain, {}).catch((cleanUp: unknown) => {
          const { code, message } = toFerryError(cleanUp);
          log.warn({ chain, code, error: message }, 'could not remove a new image yet');
          settleLater(chain);
        });
      }
      throw thrown;
    }
    return new RbdPush(this.#context, chain, intent);
  }

  async extend(
    view: ChainView,
    intent: PushIntent & { readonly base: BackupIdParts },
    options: Options,
  ): Promise<DriverPush> {
    await prepareHead(this.#context, view, intent, options);
    return new RbdPush(this.#context, view.chain.name, intent);
  }

  async read(view: ChainView, { snap: name, id }: Backup, options: ReadOptions): Promise<DriverPull> {
    const { ceph, reader } = this.#context;
    const image = reader.image(view.chain.name);
    const snap = view.snapshots.find((snapshot) => snapshot.name === name);
    const info = snap === undefined ? null : await unlessGone(ceph.infoAt(image, name, options));
    if (snap === undefined || info === null) throw new FerryError('BACKUP_NOT_FOUND', `there is no backup ${id}`);
    const diff = { snap: name, fromSnap: null };
    return {
      // That it is the snapshot that was seen, of this very image, is looked at when it has been read.
      stream: provenDiff(ceph, { image, imageId: info.id, snap, from: null, parent: info.parent }, options),
      estimate: async (options) => estimatedStreamBytes(await ceph.diffExtents(image, diff, options)),
    };
  }

  removeBackup(view: ChainView, backup: Backup, options: DriverRemoveOptions): Promise<Removed> {
    return removeBackup(this.#context, view, backup, options);
  }

  removeChain(view: ChainView, options: DriverRemoveOptions): Promise<Removed> {
    return removeChain(this.#context, view, options);
  }

  /** If we die here: it is written down, or it is not. */
  async setHold({ chain: { name } }: ChainView, { snap }: Backup, hold: Hold | null, options: Options): Promise<void> {
    const { reader } = this.#context;
    if (hold === null) await reader.removeMetadata(name, holdKey(snap), options);
    else await reader.setMetadata(name, holdKey(snap), encodeHold(hold), options);
  }

  addedBytes(view: ChainView, of: Increment, options: Options): Promise<bigint> {
    return addedBytes(this.#context, view, of, options);
  }

  settle(chain: ChainName, { isThorough = false, signal }: SettleOptions): Promise<boolean> {
    const settle = isThorough ? settleThoroughly : settleChain;
    return settle(this.#context, chain, { signal });
  }

  leftovers(options: Options): Promise<Leftover[]> {
    return leftovers(this.#context, options);
  }
}

/** Null when the image, or the snapshot, is not there. */
const unlessGone = async <T>(look: Promise<T>): Promise<T | null> => {
  try {
    return await look;
  } catch (thrown) {
    const { code } = toFerryError(thrown);
    if (code === 'IMAGE_NOT_FOUND' || code === 'SNAPSHOT_NOT_FOUND') return null;
    throw thrown;
  }
};
