import { toFerryError } from '@rbdferry/core/errors/ferry-error.js';
import type { Logger } from '@rbdferry/core/log/logger.js';
import type { ChainName, SnapName } from '@rbdferry/core/model/backup-id.js';
import type { FoundChain, StoreDriver } from './driver.js';

interface UsageMeterOptions<View extends FoundChain> {
  readonly driver: Pick<StoreDriver<View>, 'addedBytes' | 'known' | 'look'>;
  readonly log: Logger;
  /** Whether nothing more important is under way. */
  readonly isIdle: () => boolean;
}

/** Measures new backups in the background, one at a time, while no transfer is under way. */
export class UsageMeter<View extends FoundChain> {
  readonly #options: UsageMeterOptions<View>;
  readonly #ending = new AbortController();
  readonly #waiting: { chain: ChainName; snap: SnapName }[] = [];
  #working: Promise<void> | null = null;

  constructor(options: UsageMeterOptions<View>) {
    this.#options = options;
  }

  /** A backup was committed. */
  add(chain: ChainName, snap: SnapName): void {
    this.#waiting.push({ chain, snap });
  }

  /** Works off what waits, if it may now. Called whenever a transfer ends. */
  poke(): void {
    this.#working ??= this.#work().finally(() => {
      this.#working = null;
    });
  }

  async close(): Promise<void> {
    this.#ending.abort();
    await this.#working;
  }

  async #work(): Promise<void> {
    const { signal } = this.#ending;
    while (!signal.aborted && this.#options.isIdle()) {
      const next = this.#waiting.shift();
      if (next === undefined) return;
      try {
        await this.#measure(next.chain, next.snap, signal);
      } catch (thrown) {
        // It will be measured when somebody asks.
        this.#options.log.debug({ ...next, error: toFerryError(thrown).message }, 'could not measure a backup');
      }
    }
  }

  async #measure(chain: ChainName, snap: SnapName, signal: AbortSignal): Promise<void> {
    const { driver } = this.#options;
    const view = driver.known(chain) ?? (await driver.look(chain, { signal }));
    const { backups } = view.chain;
    const at = backups.findIndex((backup) => backup.snap === snap);
    const backup = backups[at];
    if (backup === undefined) return;
    await driver.addedBytes(view, { backup, previous: backups[at - 1]?.snap ?? null }, { signal });
  }
}
