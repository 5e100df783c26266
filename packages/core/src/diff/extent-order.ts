/** The outcome of adding an extent: accepted, or the kind of problem. */
export type OrderVerdict = 'accepted' | 'extent-out-of-order' | 'extent-overlap' | 'window-too-scattered';

/** Watches that the extents of one stream neither overlap nor go backwards. */
export interface ExtentOrder {
  /**
   * @param offset first byte of the extent in the image
   * @param end first byte after it; larger than `offset`, a safe integer
   */
  add(offset: number, end: number): OrderVerdict;
}

/** Extents must come in ascending order, as they do in every stream of Ceph 16.2.8 and later. */
export class AscendingOrder implements ExtentOrder {
  #lastOffset = 0;
  #lastEnd = 0;

  add(offset: number, end: number): OrderVerdict {
    if (offset < this.#lastEnd) return end > this.#lastOffset ? 'extent-overlap' : 'extent-out-of-order';
    this.#lastOffset = offset;
    this.#lastEnd = end;
    return 'accepted';
  }
}

/**
 * Extents may come in any order inside one window of the image, and windows must ascend.
 *
 * Before Pacific (and before 16.2.8 with `--whole-object`) librbd listed the extents of an image with
 * fancy striping object by object, so they ascend only from one stripe period (stripe count times
 * object size) to the next. See https://github.com/ceph/ceph/pull/45601.
 */
export class WindowedOrder implements ExtentOrder {
  readonly #windowBytes: number;
  readonly #ranges: RangeSet;
  #window = 0;
  /** The end of the furthest extent of the windows before this one; it may reach into this one. */
  #floor = 0;
  #furthestEnd = 0;

  /** @param maxRanges how many separate ranges of one window to remember before refusing */
  constructor(windowBytes: number, maxRanges: number) {
    this.#windowBytes = windowBytes;
    this.#ranges = new RangeSet(maxRanges);
  }

  add(offset: number, end: number): OrderVerdict {
    const window = Math.floor(offset / this.#windowBytes);
    if (window < this.#window) return 'extent-out-of-order';
    if (window > this.#window) this.#enter(window);
    if (offset < this.#floor) return 'extent-overlap';
    const verdict = this.#ranges.add(offset, end);
    if (verdict === 'accepted') this.#furthestEnd = Math.max(this.#furthestEnd, end);
    return verdict;
  }

  #enter(window: number): void {
    this.#window = window;
    this.#floor = this.#furthestEnd;
    this.#ranges.clear();
  }
}

/** Disjoint ranges in ascending order; ranges that touch become one, which keeps the set small. */
class RangeSet {
  readonly #maxRanges: number;
  readonly #starts: number[] = [];
  readonly #ends: number[] = [];

  constructor(maxRanges: number) {
    this.#maxRanges = maxRanges;
  }

  clear(): void {
    this.#starts.length = 0;
    this.#ends.length = 0;
  }

  add(start: number, end: number): OrderVerdict {
    const at = this.#firstAfter(start);
    const endBefore = this.#ends[at - 1] ?? -1;
    const startAfter = this.#starts[at] ?? Infinity;
    if (endBefore > start || startAfter < end) return 'extent-overlap';
    if (endBefore === start && startAfter === end) {
      this.#ends.splice(at - 1, 1);
      this.#starts.splice(at, 1);
    } else if (endBefore === start) this.#ends[at - 1] = end;
    else if (startAfter === end) this.#starts[at] = start;
    else return this.#insert(at, start, end);
    return 'accepted';
  }

  #insert(at: number, start: number, end: number): OrderVerdict {
    if (this.#starts.length >= this.#maxRanges) return 'window-too-scattered';
    this.#starts.splice(at, 0, start);
    this.#ends.splice(at, 0, end);
    return 'accepted';
  }

  /** The index of the first range that starts after `start`. */
  #firstAfter(start: number): number {
    let low = 0;
    let high = this.#starts.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#starts[middle] ?? Infinity) <= start) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
