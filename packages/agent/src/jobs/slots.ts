import type { Release } from '@rbdferry/core/lifecycle/keyed-lock.js';

/** How many transfers may be under way at once. */
export class Slots {
  readonly #most: () => number;
  #taken = 0;

  /** @param most as the configuration says now; fewer than are taken means that none is free for a while */
  constructor(most: () => number) {
    this.#most = most;
  }

  get most(): number {
    return this.#most();
  }

  /** A slot, or undefined when none is free. Giving it back twice does nothing. */
  take(): Release | undefined {
    if (this.#taken >= this.most) return undefined;
    this.#taken += 1;
    let isTaken = true;
    return () => {
      if (isTaken) this.#taken -= 1;
      isTaken = false;
    };
  }
}
