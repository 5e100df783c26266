/** Something that is waited for, and whether it is at work though it gives (or takes) no bytes. */
export interface Life {
  /** Milliseconds since it last showed that. */
  readonly silentMs: number;
  /** What to do about it when it has been silent for `ms`. */
  hintAfter(ms: number): string;
}

export type ClusterRole = 'source' | 'backup' | 'production';

/** This end's own rbd. */
export class RbdLife implements Life {
  readonly #cluster: ClusterRole;
  readonly #now: () => number;
  #lastMs: number;

  /** @param now a monotonic clock in milliseconds */
  constructor(cluster: ClusterRole, now: () => number = () => performance.now()) {
    this.#cluster = cluster;
    this.#now = now;
    this.#lastMs = now();
  }

  /** It was at work just now. */
  readonly sign = (): void => {
    this.#lastMs = this.#now();
  };

  get silentMs(): number {
    return this.#now() - this.#lastMs;
  }

  hintAfter(): string {
    return `rbd moved nothing and got no answer from the ${this.#cluster} cluster; look at it with \`ceph -s\``;
  }
}

/**
 * The other end of a transfer, by what it says of its own rbd. That it answers is not enough: two ends that wait for each other must
 * not keep each other waiting. So it is as silent as its rbd, and its rbd is watched by itself as well.
 */
export class PeerLife implements Life {
  readonly #peer: 'agent' | 'receiver';
  readonly #now: () => number;
  #heardMs: number | null = null;
  #signMs: number | null = null;

  /** @param now a monotonic clock in milliseconds */
  constructor(peer: 'agent' | 'receiver', now: () => number = () => performance.now()) {
    this.#peer = peer;
    this.#now = now;
  }

  /** It answers; its rbd showed life so long ago. Undefined when it is too old to say. */
  heard(silentMs: number | undefined): void {
    const nowMs = this.#now();
    this.#heardMs = nowMs;
    if (silentMs !== undefined) this.#signMs = Math.max(nowMs - silentMs, this.#signMs ?? -Infinity);
  }

  get silentMs(): number {
    return this.#signMs === null ? Infinity : this.#now() - this.#signMs;
  }

  hintAfter(ms: number): string {
    const answers = this.#heardMs !== null && this.#now() - this.#heardMs < ms / 2;
    return answers
      ? `the ${this.#peer} answers, but moves nothing; look at its log, and at its cluster with \`ceph -s\``
      : `nothing is heard of the ${this.#peer} any more; look whether it runs, and at the network`;
  }
}

/** Both ends of a transfer, as one of them sees them. */
export interface Lives {
  readonly rbd: RbdLife;
  readonly peer: PeerLife;
}
