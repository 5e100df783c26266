import type { ByteSink, CephPort } from '@rbdferry/core/ceph/port.js';
import { intercept } from './intercept.js';

/** Thrown by every call of a process that has died. */
export class Died extends Error {
  override readonly name = 'Died';
}

export interface DyingCeph {
  readonly ceph: CephPort;
  /** Every call that has reached the port, and the one that was not done, if it died before it. */
  readonly calls: readonly string[];
  readonly isDead: boolean;
  /** Aborted at the moment of death, before anybody hears of it. */
  readonly dead: AbortSignal;
}

/**
 * The port of a process that dies before or after call `at`, counted from 1: from then on every call throws {@link Died}, and none
 * reaches the cluster. Imports that run end as those of a process that was killed: their input closes.
 *
 * With `at: Infinity` it only counts, so that a test can go through all of them:
 * `for (let at = 1; at <= calls.length; at += 1) for (const when of ['before', 'after'])`.
 */
export const dyingCeph = (
  port: CephPort,
  { at, when }: { readonly at: number; readonly when: 'before' | 'after' },
): DyingCeph => {
  const calls: string[] = [];
  const sinks = new Set<ByteSink>();
  const death = new AbortController();

  const die = async (): Promise<never> => {
    death.abort();
    await Promise.all([...sinks].map((sink) => sink.abort()));
    throw new Died(`died ${when} call ${at}, ${calls[at - 1]}`);
  };
  const mustLive = (): void => {
    if (death.signal.aborted) throw new Died(`died ${when} call ${at}, ${calls[at - 1]}, before this one`);
  };
  const ceph = intercept(port, {
    opened: (sink) => sinks.add(sink),
    async around({ text }, run) {
      mustLive();
      const number = calls.push(text);
      if (number === at && when === 'before') return die();
      try {
        return await run();
      } finally {
        if (number === at) await die();
        mustLive();
      }
    },
  });
  return {
    ceph,
    calls,
    dead: death.signal,
    get isDead() {
      return death.signal.aborted;
    },
  };
};
