import type { Release } from '@rbdferry/core/lifecycle/keyed-lock.js';

/** A job that runs, as far as it matters here. */
interface Running {
  /** Null before its transfer has begun. */
  readonly stages: object | null;
  readonly progress: { readonly stillMs: number };
}

/** How long nothing has moved in a transfer whose slot goes to another job. */
const stillMs = 20_000;

/**
 * Transfers that do not move lend their slots to jobs that wait: one image that hangs, say because its data pool has stopped, does not take a
 * half of a night. As many as there are slots at most, so that a cluster that hangs as a whole does not get all jobs at once.
 */
export class LentSlots {
  readonly #slots = new Map<Running, Release>();
  readonly #lent = new Set<Running>();

  started(live: Running, slot: Release): void {
    this.#slots.set(live, slot);
  }

  ended(live: Running): void {
    this.#slots.delete(live);
    this.#lent.delete(live);
  }

  /** Answers whether a slot became free. */
  lend(most: number): boolean {
    for (const [live, slot] of this.#slots) {
      if (this.#lent.size >= most) return false;
      if (this.#lent.has(live) || live.stages === null || live.progress.stillMs < stillMs) continue;
      this.#lent.add(live);
      slot();
      return true;
    }
    return false;
  }
}
