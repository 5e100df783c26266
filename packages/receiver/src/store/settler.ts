import { toFerryError } from '@rbdferry/core/errors/ferry-error.js';
import type { Logger } from '@rbdferry/core/log/logger.js';
import type { ChainName } from '@rbdferry/core/model/backup-id.js';
import type { ChainLocks } from './chain-locks.js';
import { CleanUpLater } from './clean-up-later.js';
import type { FoundChain, Leftover, SettleOptions, StoreDriver } from './driver.js';
import type { Options } from './port.js';

interface SettlerOptions {
  readonly driver: Pick<StoreDriver<FoundChain>, 'settle'>;
  readonly locks: ChainLocks;
  readonly log: Logger;
}

/** Puts chains right on which something broke off, each while nobody else changes it: now when that can be done, and else later. */
export class Settler {
  readonly #options: SettlerOptions;
  readonly #later = new CleanUpLater((chain, signal) => this.#settleAgain(chain, signal));

  constructor(options: SettlerOptions) {
    this.#options = options;
  }

  /** Waits for the chain and puts it right. @throws IMAGE_BUSY, and what keeps the chain from being put right */
  async settle(chain: ChainName, options: Options): Promise<void> {
    const { locks, driver } = this.#options;
    const release = await locks.toChange(chain, options);
    try {
      await driver.settle(chain, options);
    } finally {
      release();
    }
  }

  /** Puts a chain right that the caller holds; what cannot be done now is done later. Never rejects. */
  async settleHeld(chain: ChainName): Promise<void> {
    if (!(await this.#settles(chain, {}))) this.later(chain);
  }

  /** Puts a chain right as soon as that can be done. */
  later(chain: ChainName): void {
    this.#later.add(chain);
  }

  /** Answers whether that changed anything. Never rejects. Whoever holds the chain has found it clean, or puts it right. */
  async clean({ chain, clean }: Leftover): Promise<boolean> {
    const { locks, log } = this.#options;
    const release = locks.tryToChange(chain);
    if (release === undefined) return false;
    try {
      return await clean();
    } catch (thrown) {
      log.warn({ chain, error: toFerryError(thrown).message }, 'could not clean up a chain yet');
      this.later(chain);
      return false;
    } finally {
      release();
    }
  }

  close(): Promise<void> {
    return this.#later.close();
  }

  /** Answers whether that is settled, which cannot be seen while somebody holds the chain. Never rejects. */
  async #settleAgain(chain: ChainName, signal: AbortSignal): Promise<boolean> {
    const release = this.#options.locks.tryToChange(chain);
    if (release === undefined) return false;
    try {
      return await this.#settles(chain, { signal, isThorough: true });
    } finally {
      release();
    }
  }

  async #settles(chain: ChainName, options: SettleOptions): Promise<boolean> {
    const { driver, log } = this.#options;
    try {
      await driver.settle(chain, options);
      return true;
    } catch (thrown) {
      const { code, message } = toFerryError(thrown);
      log.warn({ chain, code, error: message }, 'could not clean up yet');
      return false;
    }
  }
}
