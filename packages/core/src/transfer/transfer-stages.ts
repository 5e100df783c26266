import { stagesOf, unexplainedMs, type Stages, type TransferEnd, type Waits } from '../model/stages.js';
import { StageMeter } from './stage-meter.js';

/** A transfer's stages as one end of it sees them: its own meter, and what it last heard of the other end. */
export class TransferStages {
  readonly meter: StageMeter;
  readonly #end: TransferEnd;
  readonly #now: () => number;
  readonly #begunMs: number;
  #peer: Waits | null = null;

  /** @param now a monotonic clock in milliseconds */
  constructor(end: TransferEnd, now: () => number = () => performance.now()) {
    this.meter = new StageMeter(now);
    this.#end = end;
    this.#now = now;
    this.#begunMs = now();
  }

  /** What the other end says of itself; null when it says nothing. It cannot have waited for longer than there was time. */
  heard(peer: Waits | null): void {
    if (peer === null) return;
    const longestMs = this.#now() - this.#begunMs;
    this.#peer = {
      bytes: peer.bytes,
      upstreamMs: Math.min(peer.upstreamMs, longestMs),
      downstreamMs: Math.min(peer.downstreamMs, longestMs),
      limitMs: Math.min(peer.limitMs, longestMs),
    };
  }

  get view(): Stages {
    return stagesOf(...this.#ends);
  }

  /** How long this end waited for the far side without knowing what for, in milliseconds. */
  get unexplainedMs(): number {
    return unexplainedMs(...this.#ends);
  }

  get #ends(): [sender: Waits | null, taker: Waits | null] {
    const own = this.meter.waits;
    return this.#end === 'sender' ? [own, this.#peer] : [this.#peer, own];
  }
}
