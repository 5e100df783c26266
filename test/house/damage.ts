import type { CephPort } from '@rbdferry/core/ceph/port.js';
import { intercept, type PortCall } from '../fake-ceph/intercept.js';

/** Does a call, or something else in its place. */
type Instead = (run: () => Promise<unknown>, call: PortCall) => Promise<unknown>;

/** Stands between a daemon and its cluster (`DaemonInHouse.between`) and does nothing until it is told to. */
export class Damage {
  #damaged: { readonly words: readonly string[]; readonly instead: Instead } | null = null;

  readonly between = (ceph: CephPort): CephPort =>
    intercept(ceph, {
      around: <T>(call: PortCall, run: () => Promise<T>): Promise<T> => {
        const damaged = this.#damaged;
        if (damaged === null || !damaged.words.every((word) => call.text.includes(word))) return run();
        return damaged.instead(run, call) as Promise<T>;
      },
    });

  /** From now on this happens to calls whose text holds all of the words. */
  instead(words: readonly string[], instead: Instead): void {
    this.#damaged = { words, instead };
  }

  heal(): void {
    this.#damaged = null;
  }
}
