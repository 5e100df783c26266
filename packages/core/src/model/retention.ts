import type { BackupId } from './backup-id.js';
import { commitTimes, newestFirst } from './backup-order.js';
import type { Chain } from './chain.js';

/**
 * Which backups of one image may go. What any keep rule keeps stays. Of the rest those go that are older than the age, or all of them
 * when no age is given. At least one rule must be set.
 */
export interface RetentionPolicy {
  /** Backups committed longer ago than this, in milliseconds. */
  readonly olderThanMs: number | null;
  /** Keep the newest N backups. */
  readonly keepLast: number | null;
  /** Keep what is in the newest N chains that hold backups of the image (by its newest backup in each). */
  readonly keepFull: number | null;
  /** These stay, whatever the rules say. */
  readonly keepIds: readonly BackupId[];
}

/**
 * The backups of one image that a policy lets go, oldest first. The newest backup of the image always stays: no policy, and no
 * clock that is wrong, takes the last one.
 *
 * @param chains with the backups of that image and no others, see `byImage`
 * @param nowMs by the receiver's clock, in milliseconds since 1970
 */
export const expiredBackups = (policy: RetentionPolicy, chains: readonly Chain[], nowMs: number): BackupId[] => {
  const { olderThanMs, keepLast, keepFull } = policy;
  if (olderThanMs === null && keepLast === null && keepFull === null) return [];
  const ordered = newestFirst(chains);
  const keptChains = new Set([...new Set(ordered.map(({ chain }) => chain))].slice(0, keepFull ?? 0));
  const keptIds = new Set(policy.keepIds);
  const isOld = olderThanMs === null ? () => true : olderThan(olderThanMs, chains, nowMs);
  return ordered
    .filter(({ backup, chain }, younger) => {
      const isKept = younger < Math.max(1, keepLast ?? 0) || keptChains.has(chain) || keptIds.has(backup.id);
      return !isKept && isOld(backup.id);
    })
    .map(({ backup }) => backup.id)
    .toReversed();
};

const olderThan = (ageMs: number, chains: readonly Chain[], nowMs: number): ((id: BackupId) => boolean) => {
  const times = new Map<BackupId, number>();
  for (const chain of chains) {
    const committed = commitTimes(chain, nowMs);
    for (const [index, { id }] of chain.backups.entries()) times.set(id, committed[index] ?? nowMs);
  }
  return (id) => (times.get(id) ?? nowMs) < nowMs - ageMs;
};
