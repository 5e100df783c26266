import { throwIfAborted, type FerryError } from '@rbdferry/core/errors/ferry-error.js';
import { unlessAborted } from '@rbdferry/core/transfer/stall.js';
import { refusal } from './refusal.js';

/** Names of calls that hang, as a port counts them: `list`, `importDiff`, `importDiff.write`, ... */
type Matches = (call: string) => boolean;

/** A hang that a test made. */
export interface Hang {
  /** How many calls wait in it. */
  readonly waiting: number;
  /** Lets them go on. */
  release(): void;
}

/** What is wrong with a cluster as a whole. */
export class Trouble {
  /** No monitor answers. */
  unreachable = false;
  readonly #hangs = new Set<HangingCalls>();
  readonly #transfers = new Set<Transfer>();

  /** From now on these calls wait, until their signal is aborted or they are let go. There is no deadline: the fake has no clock. */
  hang(matches: Matches = () => true): Hang {
    const hang = new HangingCalls(matches, () => this.#hangs.delete(hang));
    this.#hangs.add(hang);
    return hang;
  }

  /** Every call comes by here. @throws CEPH_UNAVAILABLE, and the signal's reason */
  async pass(call: string, what: string, signal: AbortSignal | undefined): Promise<void> {
    throwIfAborted(signal);
    await Promise.resolve();
    for (const hang of this.#hangs) await hang.pass(call, signal);
    throwIfAborted(signal);
    if (this.unreachable) throw refusal('CEPH_UNAVAILABLE', what, "couldn't connect to the cluster");
  }

  /** Kills the children of this verb that are running. What they had open stays watched, see `FakeCluster.expireWatches`. */
  killChildren(verb: Transfer['verb']): void {
    for (const transfer of this.#transfers) {
      if (transfer.verb !== verb) continue;
      this.#transfers.delete(transfer);
      transfer.kill(refusal('CEPH_FAILED', transfer.what, 'rbd was ended by SIGKILL'));
    }
  }

  /** A child runs. Answers what is to be called when it has ended. */
  running(transfer: Transfer): () => void {
    this.#transfers.add(transfer);
    return () => {
      this.#transfers.delete(transfer);
    };
  }
}

interface Transfer {
  readonly verb: 'export-diff' | 'import-diff';
  readonly what: string;
  readonly kill: (failure: FerryError) => void;
}

class HangingCalls implements Hang {
  readonly #matches: Matches;
  readonly #released: Promise<void>;
  readonly release: () => void;
  waiting = 0;

  constructor(matches: Matches, onRelease: () => void) {
    this.#matches = matches;
    const { promise, resolve } = withResolvers();
    this.#released = promise;
    this.release = () => {
      onRelease();
      resolve();
    };
  }

  async pass(call: string, signal: AbortSignal | undefined): Promise<void> {
    if (!this.#matches(call)) return;
    this.waiting += 1;
    try {
      await (signal === undefined ? this.#released : unlessAborted(this.#released, signal));
    } finally {
      this.waiting -= 1;
    }
  }
}

const withResolvers = () => {
  let resolve = (): void => {};
  const promise = new Promise<void>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
};
