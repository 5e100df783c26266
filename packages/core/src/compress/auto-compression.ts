/** What to do with the next piece. */
export type Decision = 'plain' | 'sample' | 'compress';

/** Pieces (of up to 1 MiB) that go as they are between two samples. */
const samplingInterval = 16;
/** A sample, or the pieces so far, must come to less than this of their size. */
const goodRatio = 0.8;
const badRatio = 0.9;
/** How much the newest piece counts in the ratio so far. */
const newest = 1 / 8;
/** After so many pieces it is looked at whether the compressor holds the stream up. */
const lookInterval = 32;
const heldUpShare = 0.5;
const pause = { first: 64, most: 1024 } as const;

/**
 * Decides whether a stream is worth compressing, by what comes of it. What does not become smaller is only sampled. What does
 * is compressed, unless the stream then waits for the compressor most of the time: a wire (and a processor) for which that is
 * so does not need it. Then the stream goes as it is for a while, each time for longer.
 */
export class AutoCompression {
  readonly #nowMs: () => number;
  #mode: { kind: 'plain'; left: number } | { kind: 'compressing'; ratio: number; pieces: number; sinceMs: number } = {
    kind: 'plain',
    left: 0,
  };
  #waitedMs = 0;
  #pausePieces: number = pause.first;

  /** @param nowMs a monotonic clock in milliseconds */
  constructor(nowMs: () => number = () => performance.now()) {
    this.#nowMs = nowMs;
  }

  next(): Decision {
    if (this.#mode.kind === 'compressing') return 'compress';
    this.#mode.left -= 1;
    if (this.#mode.left >= 0) return 'plain';
    // The next pieces may be asked about before this one's sample is there.
    this.#mode.left = samplingInterval - 1;
    return 'sample';
  }

  /** @param ratio compressed size of the sample to its size. @returns whether to compress the piece it was taken from */
  sampled(ratio: number): boolean {
    if (ratio > goodRatio) return false;
    this.#waitedMs = 0;
    this.#mode = { kind: 'compressing', ratio, pieces: 0, sinceMs: this.#nowMs() };
    return true;
  }

  compressed(ratio: number): void {
    if (this.#mode.kind !== 'compressing') return;
    this.#mode.ratio += (ratio - this.#mode.ratio) * newest;
    this.#mode.pieces += 1;
    if (this.#mode.ratio > badRatio) this.#rest(samplingInterval - 1);
    else if (this.#mode.pieces === lookInterval) this.#look(this.#mode.ratio, this.#mode.sinceMs);
  }

  /** The stream has waited so long for the compressor. */
  waited(ms: number): void {
    this.#waitedMs += ms;
  }

  #look(ratio: number, sinceMs: number): void {
    const now = this.#nowMs();
    const share = this.#waitedMs / Math.max(1, now - sinceMs);
    this.#waitedMs = 0;
    if (share < heldUpShare) {
      this.#pausePieces = pause.first;
      this.#mode = { kind: 'compressing', ratio, pieces: 0, sinceMs: now };
      return;
    }
    this.#rest(this.#pausePieces);
    this.#pausePieces = Math.min(pause.most, this.#pausePieces * 2);
  }

  #rest(left: number): void {
    this.#mode = { kind: 'plain', left };
  }
}
