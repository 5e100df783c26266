import type { BackupId } from './backup-id.js';
import type { Chain } from './chain.js';

/** Which backups of one image may go. A backup goes when any of the rules says so; at least one must be set. */
export interface RetentionPolicy {
  /** Backups committed longer ago than this, in milliseconds. */
  readonly olderThanMs: number | null;
  /** All but the newest N backups. */
  readonly keepLast: number | null;
  /** All but the newest N chains (by their newest backup). */
  readonly keepFull: number | null;
}

/**
 * The backups of one image that a policy lets go, oldest first. The newest backup of the image always stays: no policy, and no
 * clock that is wrong, takes the last one.
 *
 * @param chains of one image
 * @param nowMs milliseconds since 1970
 */
export const expiredBackups = (policy: RetentionPolicy, chains: readonly Chain[], nowMs: number): BackupId[] => {
  const backups = chains
    .flatMap((chain) => chain.backups.map((backup) => ({ backup, chain })))
    .toSorted((a, b) => (a.backup.snap < b.backup.snap ? -1 : 1));
  const keptChains = new Set(
    chains.toSorted((a, b) => newestSnap(b).localeCompare(newestSnap(a))).slice(0, policy.keepFull ?? chains.length),
  );
  return backups
    .filter(({ backup, chain }, index) => {
      const younger = backups.length - 1 - index;
      if (younger === 0) return false;
      return (
        (policy.olderThanMs !== null && backup.committedAtMs < nowMs - policy.olderThanMs) ||
        (policy.keepLast !== null && younger >= policy.keepLast) ||
        !keptChains.has(chain)
      );
    })
    .map(({ backup }) => backup.id);
};

const newestSnap = (chain: Chain): string => chain.backups.at(-1)?.snap ?? '';
