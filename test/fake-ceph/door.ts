import type { CallOptions } from '@rbdferry/core/ceph/port.js';
import type { PoolSpec } from '@rbdferry/core/model/image-spec.js';
import type { FakeNamespace } from './cluster-state.js';
import type { FakeCluster } from './fake-cluster.js';
import { refusal } from './refusal.js';

export interface FakeCephOptions {
  /** A user with `profile rbd-read-only`. Default false. */
  readonly readOnly?: boolean;
  /** Default true: whether the user may ask which pools are full. One who may not only sees that nothing happens. */
  readonly seesFullPools?: boolean;
  /** Largest chunk of an export in bytes; the real one's when left out. Small ones let little images go in many. */
  readonly chunkBytes?: number;
  /**
   * When `import-diff` makes its snapshot: at `finish`, or (as the real one may) as soon as it has the end record, so that one who
   * dies before `finish` has committed all the same. Default `finish`.
   */
  readonly importCommitsAt?: 'finish' | 'end-record';
}

/** What a call is told on its way: for messages, and for hangs. */
export interface Request {
  /** Name of the method. */
  readonly call: string;
  /** After "cannot": `remove image "rbd/vm1"`. */
  readonly what: string;
  readonly where: PoolSpec;
}

/** The way of one client's calls into the cluster, and what may stop them there. */
export class Door {
  readonly cluster: FakeCluster;
  readonly options: FakeCephOptions;

  constructor(cluster: FakeCluster, options: FakeCephOptions) {
    this.cluster = cluster;
    this.options = options;
  }

  /** Runs a step in one go, as the only one. */
  async pass<T>(
    { call, what, where }: Request,
    { signal }: CallOptions = {},
    step: (namespace: FakeNamespace, what: string) => T,
  ): Promise<T> {
    await this.cluster.trouble.pass(call, what, signal);
    if (!this.cluster.pool(where.pool, what).permitted)
      throw refusal('CEPH_PERMISSION', what, '(1) Operation not permitted');
    return step(this.cluster.namespace(where, what), what);
  }

  /** To be called by a step before it changes anything that a full pool lets through. @throws CEPH_PERMISSION */
  mayRemove(what: string): void {
    if (this.options.readOnly === true) throw refusal('CEPH_PERMISSION', what, '(1) Operation not permitted');
  }

  /** To be called by a step before it writes anything into these pools. @throws CEPH_PERMISSION, CEPH_NO_SPACE, CEPH_TIMEOUT */
  mayWrite(what: string, ...pools: (string | null)[]): void {
    this.mayRemove(what);
    const full = pools.find((pool) => pool !== null && this.cluster.pool(pool, what).full);
    if (full === undefined || full === null) return;
    if (this.options.seesFullPools === false) throw this.late(what);
    throw refusal('CEPH_NO_SPACE', what, `the pool ${JSON.stringify(full)} is full or over its quota`);
  }

  /** What waits for ever on a real cluster, where a deadline ends it. */
  late(what: string) {
    return refusal('CEPH_TIMEOUT', what, 'rbd took longer than its deadline');
  }
}
