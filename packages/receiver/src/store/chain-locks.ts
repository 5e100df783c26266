import { FerryError } from '@rbdferry/core/errors/ferry-error.js';
import { KeyedLock, type Release } from '@rbdferry/core/lifecycle/keyed-lock.js';
import type { ChainName } from '@rbdferry/core/model/backup-id.js';
import type { Options } from './port.js';

/** How long to wait for another transfer with the same chain to end. */
const waitMs = 60_000;

/**
 * Who works with which chain. A chain has one writer, or one who removes; it has any number of readers, and none while something of it is
 * removed. A writer and readers do not hinder each other: backups that are there do not change.
 */
export class ChainLocks {
  readonly #locks = new KeyedLock();

  /** Holds the chain to change it. @throws IMAGE_BUSY when somebody holds it for longer than a moment */
  toChange(chain: ChainName, options: Options): Promise<Release> {
    return this.#within(chain, chain, options);
  }

  /** Holds the chain to change it, or answers undefined when it is held. */
  tryToChange(chain: ChainName): Release | undefined {
    return this.#locks.tryAcquire(chain);
  }

  /** Holds off writers and readers. @throws IMAGE_BUSY when somebody holds it for longer than a moment */
  async toRemove(chain: ChainName, options: Options): Promise<Release> {
    const noWriter = await this.#within(chain, chain, options);
    try {
      const noReaders = await this.#within(readersOf(chain), chain, options);
      return () => {
        noReaders();
        noWriter();
      };
    } catch (thrown) {
      noWriter();
      throw thrown;
    }
  }

  /** Holds off removals, for as long as it is read. */
  toRead(chain: ChainName, { signal }: Options): Promise<Release> {
    return this.#locks.acquire(readersOf(chain), { mode: 'shared', signal });
  }

  /** Waits, for as long as it takes, until nobody changes the chain. */
  async untilUnchanging(chain: ChainName, { signal }: Options): Promise<void> {
    const release = await this.#locks.acquire(chain, { mode: 'shared', signal });
    release();
  }

  async #within(key: string, chain: ChainName, { signal }: Options): Promise<Release> {
    const waited = AbortSignal.timeout(waitMs);
    const either = signal === undefined ? waited : AbortSignal.any([signal, waited]);
    try {
      return await this.#locks.acquire(key, { signal: either });
    } catch (thrown) {
      if (!waited.aborted) throw thrown;
      throw new FerryError('IMAGE_BUSY', `another transfer with ${chain} is under way`, { cause: thrown });
    }
  }
}

const readersOf = (chain: ChainName): string => `readers of ${chain}`;
