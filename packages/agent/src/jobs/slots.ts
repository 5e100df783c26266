import type { Release } from '@rbdferry/core/lifecycle/keyed-lock.js';

/** `large` ones leave one slot to others, where there is more than one. */
export type Lane = 'large' | 'any';

/** How many transfers may be under way at once. */
export class Slots {
  readonly #most: () => number;
  readonly #taken = { large: 0, any: 0 };

  /** @param most as the configuration says now; fewer than are taken means that none is free for a while */
  constructor(most: () => number) {
    this.#most = most;
  }

  get most(): number {
    return this.#most();
  }

  /** A slot, or undefined when none is free. Giving it back twice does nothing. */
  take(lane: Lane = 'any'): Release | undefined {
    const { large, any } = this.#taken;
    const mostLarge = Math.max(1, this.most - 1);
    if (large + any >= this.most || (lane === 'large' && large >= mostLarge)) return undefined;
    this.#taken[lane] += 1;
    let isTaken = true;
    return () => {
      if (isTaken) this.#taken[lane] -= 1;
      isTaken = false;
    };
  }
}
