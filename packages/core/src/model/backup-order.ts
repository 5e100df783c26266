import type { Backup } from './chain.js';

/**
 * The order of backups, which is the store's and nobody else's. Within a chain it is the position, that is the order of Ceph's snapshot
 * ids. Between chains it is the receiver's time of the commit, compared at their newest ends. The times in names are the word of an
 * agent's clock, which may be wrong by years: they order nothing. Everything that asks "which one is newer" asks here.
 */

type Ordered = Pick<Backup, 'committedAtMs'>;
interface Line<B extends Ordered> {
  readonly backups: readonly B[];
}

/** A backup and the chain it is in. */
export interface Placed<C extends Line<Ordered>> {
  readonly backup: C['backups'][number];
  readonly chain: C;
}

/**
 * All backups of these chains, newest first. Should the receiver's clock have run backwards within a chain, the position counts: a
 * backup is never taken for newer than one that follows it.
 */
export const newestFirst = <C extends Line<Ordered>>(chains: readonly C[]): Placed<C>[] => {
  const left = chains.map((chain) => ({ chain, count: chain.backups.length }));
  const ordered: Placed<C>[] = [];
  for (;;) {
    let newest: { end: (typeof left)[number]; backup: Ordered } | undefined;
    for (const end of left) {
      const backup = end.chain.backups[end.count - 1];
      if (backup === undefined) continue;
      if (newest === undefined || backup.committedAtMs > newest.backup.committedAtMs) newest = { end, backup };
    }
    if (newest === undefined) return ordered;
    newest.end.count -= 1;
    ordered.push({ chain: newest.end.chain, backup: newest.backup });
  }
};

/** The newest backup of these chains; undefined when there is none. */
export const newestOf = <C extends Line<Ordered>>(chains: readonly C[]): Placed<C> | undefined => {
  let newest: Placed<C> | undefined;
  for (const chain of chains) {
    const backup = chain.backups.at(-1);
    if (backup === undefined) continue;
    if (newest === undefined || backup.committedAtMs > newest.backup.committedAtMs) newest = { chain, backup };
  }
  return newest;
};

/**
 * When each backup of a chain was committed, for rules about age: never before one that it follows, so that a receiver whose clock was
 * behind for a while does not make young backups old. Times after `nowMs` are certainly wrong and say nothing of others.
 *
 * @returns milliseconds since 1970, for each backup in its place
 */
export const commitTimes = ({ backups }: Line<Ordered>, nowMs: number): number[] => {
  let latest = Number.NEGATIVE_INFINITY;
  return backups.map(({ committedAtMs }) => {
    if (committedAtMs <= nowMs) latest = Math.max(latest, committedAtMs);
    return Math.max(latest, committedAtMs);
  });
};
