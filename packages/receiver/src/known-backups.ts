import { toFerryError } from '@rbdferry/core/errors/ferry-error.js';
import type { Logger } from '@rbdferry/core/log/logger.js';
import { newestOf } from '@rbdferry/core/model/backup-order.js';
import type { Backup, Chain } from '@rbdferry/core/model/chain.js';
import { byImage } from '@rbdferry/core/model/image-backups.js';
import { parseImageSpec } from '@rbdferry/core/model/image-spec.js';
import type { ReceiverMetrics } from './receiver-metrics.js';
import type { Store, UnreadableChain } from './store/port.js';

export interface KnownBackupsOptions {
  readonly stores: ReadonlyMap<string, Store>;
  readonly metrics: ReceiverMetrics;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

/** Keeps the metrics true to what the stores hold: at the start, and when backups go. Never throws. */
export class KnownBackups {
  readonly #options: KnownBackupsOptions;
  #work: Promise<void> = Promise.resolve();

  constructor(options: KnownBackupsOptions) {
    this.#options = options;
  }

  /** Looks through the store. */
  fill(store: Store): void {
    this.#look(store, null);
  }

  /** An image whose newest backup went may have others, which are older. */
  removed(ids: readonly string[]): void {
    for (const { store: name, image } of this.#options.metrics.removed(ids)) {
      const store = this.#options.stores.get(name);
      const spec = parseImageSpec(image);
      if (store !== undefined && spec.ok) this.#look(store, spec.value.image);
    }
  }

  /** Resolves when nothing is being looked at any more. */
  idle(): Promise<void> {
    return this.#work;
  }

  #look(store: Store, image: string | null): void {
    const { metrics, log, signal } = this.#options;
    const onUnreadable = ({ name, error }: UnreadableChain): void => {
      log.warn({ store: store.name, chain: name, code: error.code, error: error.message }, 'could not read a chain');
    };
    this.#work = this.#work.then(async () => {
      try {
        if (signal.aborted) return;
        const chains: Chain[] = [];
        for await (const chain of store.chains(image, { signal, onUnreadable })) chains.push(chain);
        metrics.exist(newestOfEach(chains));
      } catch (thrown) {
        if (signal.aborted) return;
        log.warn({ store: store.name, error: toFerryError(thrown).message }, 'could not look for the newest backups');
      }
    });
  }
}

/** The newest backup of each image by each client, the last committed first. A chain is of one client. */
export const newestOfEach = (chains: readonly Chain[]): Backup[] => {
  const clients = new Set(chains.map(clientOf));
  return [...clients]
    .flatMap((client) => byImage(chains.filter((chain) => clientOf(chain) === client)))
    .flatMap((image) => newestOf(image.chains)?.backup ?? [])
    .toSorted((a, b) => b.committedAtMs - a.committedAtMs);
};

const clientOf = ({ backups }: Chain): string | null => backups[0]?.client ?? null;
