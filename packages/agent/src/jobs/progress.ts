/** How far a transfer is: bytes of the diff as `rbd export-diff` gives it, with the zeros that are not sent. */
export interface ProgressView {
  readonly doneBytes: number;
  /** An estimate; null while unknown. */
  readonly totalBytes: number | null;
  /** Over the last seconds; 0 while unknown. */
  readonly bytesPerSecond: number;
  readonly etaSeconds: number | null;
}

const windowMs = 5_000;
const sampleMs = 200;

/** Counts a transfer's bytes and derives rate and remaining time from the last few seconds. */
export class Progress {
  #wire = 0;
  #done = 0;
  #total: number | null = null;
  #samples: { atMs: number; bytes: number }[] = [];
  #movedAtMs: number;
  readonly #now: () => number;

  /** @param now a monotonic clock in milliseconds */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
    this.#movedAtMs = now();
  }

  /** For how long nothing has moved, in milliseconds. */
  get stillMs(): number {
    return this.#now() - this.#movedAtMs;
  }

  /** Bytes over the wire. */
  get wireBytes(): number {
    return this.#wire;
  }

  addWire(bytes: number): void {
    this.#wire += bytes;
  }

  add(bytes: number): void {
    this.#done += bytes;
    const atMs = this.#now();
    this.#movedAtMs = atMs;
    const last = this.#samples.at(-1);
    if (last !== undefined && atMs - last.atMs < sampleMs) return;
    this.#samples.push({ atMs, bytes: this.#done });
    while (this.#samples[0] !== undefined && atMs - this.#samples[0].atMs > windowMs) this.#samples.shift();
  }

  estimate(totalBytes: number): void {
    this.#total = totalBytes;
  }

  view(): ProgressView {
    const bytesPerSecond = this.#rate();
    // An estimate that the transfer has passed was wrong, and is worth nothing.
    const totalBytes = this.#total !== null && this.#total >= this.#done ? this.#total : null;
    const etaSeconds =
      totalBytes === null || bytesPerSecond === 0 ? null : Math.ceil((totalBytes - this.#done) / bytesPerSecond);
    return { doneBytes: this.#done, totalBytes, bytesPerSecond, etaSeconds };
  }

  #rate(): number {
    const first = this.#samples[0];
    if (first === undefined) return 0;
    const seconds = (this.#now() - first.atMs) / 1000;
    return seconds < 0.5 ? 0 : Math.round((this.#done - first.bytes) / seconds);
  }
}
