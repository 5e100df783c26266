/** How long something that failed is left alone before it is tried again, in milliseconds: twice as long each time. */
export interface BackOff {
  readonly firstMs: number;
  readonly longestMs: number;
}

/** @param failures how often it has failed so far, from 1 */
export const pauseMs = ({ firstMs, longestMs }: BackOff, failures: number): number =>
  Math.min(longestMs, firstMs * 2 ** Math.min(failures - 1, 30));

/** The pauses of a loop that tries again and again. */
export class Pauses {
  readonly #backOff: BackOff;
  #failures = 0;

  constructor(backOff: BackOff) {
    this.#backOff = backOff;
  }

  /** It failed: how long to wait now, in milliseconds. */
  next(): number {
    this.#failures += 1;
    return pauseMs(this.#backOff, this.#failures);
  }

  /** It succeeded, or something new is to be tried. */
  restart(): void {
    this.#failures = 0;
  }
}
