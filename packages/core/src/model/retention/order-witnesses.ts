import type { Backup, Chain } from '../chain.js';
import type { KeepReason } from './decision.js';

/**
 * Backups without which those that stay might come in another order than now, so that another one would count as the newest and the next run
 * would take what this one keeps.
 *
 * Chains are put in order by the times of their commits, and within a chain the place counts. So where the clock was wrong, a backup's place
 * among those of other chains depends on the lowest time behind it in its own chain. That one stays with it. With one chain, or a clock that
 * was right, there is none.
 */
export function* neededForOrder(
  chains: readonly Chain[],
  isKept: (backup: Backup) => boolean,
): Generator<readonly [Backup, KeepReason], void, undefined> {
  if (chains.length < 2) return;
  const needed = new Set(chains.flatMap((chain) => lowestBehind(chain, isKept)));
  for (const backup of needed) yield [backup, { kind: 'order' }];
}

/** For each backup that stays the one behind it with the lowest time, where that is lower than its own and would go. */
const lowestBehind = ({ backups }: Chain, isKept: (backup: Backup) => boolean): Backup[] => {
  const needed: Backup[] = [];
  let lowest: Backup | undefined;
  for (const backup of backups.toReversed()) {
    if (lowest === undefined || backup.committedAtMs < lowest.committedAtMs) lowest = backup;
    else if (backup.committedAtMs > lowest.committedAtMs && isKept(backup) && !isKept(lowest)) needed.push(lowest);
  }
  return needed;
};
