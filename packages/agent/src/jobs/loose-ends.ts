import { FerryError } from '@rbdferry/core/errors/ferry-error.js';
import type { Backup } from '@rbdferry/core/model/chain.js';
import type { JobStore } from './job-store.js';
import type { KeptLooseEnd, LooseEnd } from './job.js';
import type { LooseEndKind, LooseEndKinds, Settled } from './loose-end-kind.js';

export interface SettleOptions {
  /** Whether a backup that the receiver has is the one that was sent; any is when it is not known what was sent. */
  readonly accept?: (backup: Backup) => boolean;
  /** What else must be done before it is struck out, so that it is done again should we die meanwhile. */
  readonly beforeClose?: (settled: Settled) => Promise<void>;
}

/** A loose end of a running job. */
export interface LooseEndHandle {
  update(end: LooseEnd): void;
  /** It is as it should be: strike it out. */
  close(): void;
  /**
   * Finds out what became of it, cleans up or completes, and strikes it out.
   *
   * @throws when that cannot be done now; it stays written down
   */
  settle(options?: SettleOptions): Promise<Settled>;
}

/** A loose end that is no job's: whoever works on it keeps the caretaker off. */
export interface BegunLooseEnd {
  /** It is settled: strike it out. */
  close(): void;
  /** From now on the caretaker may settle it. */
  letGo(): void;
}

export type SettleableEnd = KeptLooseEnd & { readonly handle: LooseEndHandle };

/** The longest time between two looks for one that waits. */
const maxWaitMs = 600_000;

/** The loose ends of all jobs. */
export class LooseEnds {
  readonly #store: JobStore;
  readonly #kinds: LooseEndKinds;
  readonly #now: () => number;
  readonly #begun = new Set<string>();
  /** When those that wait were looked at last, by their number. */
  readonly #looked = new Map<number, number>();

  /** @param now milliseconds since 1970 */
  constructor(store: JobStore, { kinds, now }: { readonly kinds: LooseEndKinds; readonly now: () => number }) {
    this.#store = store;
    this.#kinds = kinds;
    this.#now = now;
  }

  add(jobId: string, end: LooseEnd): LooseEndHandle {
    this.#kindOf(end);
    return this.#handle({ id: this.#store.addLooseEnd(jobId, end), jobId, end });
  }

  /** One that belongs to no job but to the one that works on it, under this name. */
  begin(name: string, end: LooseEnd): BegunLooseEnd {
    this.#begun.add(name);
    const handle = this.add(name, end);
    return {
      close: () => {
        handle.close();
      },
      letGo: () => {
        this.#begun.delete(name);
      },
    };
  }

  /** Those that may be settled: of earlier jobs and deletions. Those that wait for what may still come are due ever less often. */
  kept(): SettleableEnd[] {
    return this.#all().filter(({ id, jobId, end }) => !this.#begun.has(jobId) && this.#isDue(id, end));
  }

  /** Those of one job. */
  of(jobId: string): SettleableEnd[] {
    return this.#all().filter((kept) => kept.jobId === jobId);
  }

  #all(): SettleableEnd[] {
    return this.#store.looseEnds().map((kept) => ({ ...kept, handle: this.#handle(kept) }));
  }

  #kindOf({ kind }: LooseEnd): LooseEndKind<LooseEnd> {
    const found = this.#kinds[kind];
    if (found !== undefined) return found;
    throw new FerryError('INTERNAL', `this release knows no loose end of the kind ${JSON.stringify(kind)}`);
  }

  #isDue(id: number, end: LooseEnd): boolean {
    const looked = this.#looked.get(id);
    const since = this.#kinds[end.kind]?.waitingSinceMs?.(end);
    if (looked === undefined || since === undefined) return true;
    return this.#now() - looked >= Math.min(maxWaitMs, (looked - since) / 2);
  }

  #handle(kept: KeptLooseEnd): LooseEndHandle {
    let { end } = kept;
    const close = () => {
      this.#looked.delete(kept.id);
      this.#store.removeLooseEnd(kept.id);
    };
    return {
      update: (next) => {
        this.#store.updateLooseEnd(kept.id, next);
        end = next;
      },
      close,
      settle: async ({ accept = () => true, beforeClose } = {}) => {
        const settled = await this.#kindOf(end).settle(end, accept);
        await beforeClose?.(settled);
        if (settled.kind === 'waiting') this.#looked.set(kept.id, this.#now());
        else close();
        return settled;
      },
    };
  }
}
