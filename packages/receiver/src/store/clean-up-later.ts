import { Pauses, type BackOff } from '@rbdferry/core/lifecycle/back-off.js';
import type { ChainName } from '@rbdferry/core/model/backup-id.js';

const backOff: BackOff = { firstMs: 5_000, longestMs: 60_000 };

/**
 * Chains that could not be put right when their transfer failed: the cluster was away, or full, or still held the lock of a client
 * that died. Without this, what is left of a full would take up its room until the receiver starts again.
 */
export class CleanUpLater {
  readonly #cleanUp: (chain: ChainName, signal: AbortSignal) => Promise<boolean>;
  readonly #waiting = new Set<ChainName>();
  readonly #ending = new AbortController();
  #timer: NodeJS.Timeout | undefined;
  readonly #pauses = new Pauses(backOff);
  #round: Promise<void> = Promise.resolve();

  /** @param cleanUp answers whether the chain needs no more looking at; never rejects */
  constructor(cleanUp: (chain: ChainName, signal: AbortSignal) => Promise<boolean>) {
    this.#cleanUp = cleanUp;
  }

  add(chain: ChainName): void {
    this.#waiting.add(chain);
    this.#pauses.restart();
    this.#schedule();
  }

  async close(): Promise<void> {
    this.#ending.abort();
    clearTimeout(this.#timer);
    await this.#round;
  }

  #schedule(): void {
    clearTimeout(this.#timer);
    if (this.#waiting.size === 0 || this.#ending.signal.aborted) return;
    this.#timer = setTimeout(() => {
      this.#round = this.#round.then(() => this.#look());
    }, this.#pauses.next());
  }

  async #look(): Promise<void> {
    const { signal } = this.#ending;
    for (const chain of this.#waiting) {
      if (signal.aborted) return;
      if (await this.#cleanUp(chain, signal)) this.#waiting.delete(chain);
    }
    this.#schedule();
  }
}
