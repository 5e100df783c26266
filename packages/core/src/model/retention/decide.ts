import type { BackupId } from '../backup-id.js';
import { commitTimes, newestFirst, type Placed } from '../backup-order.js';
import type { Backup, Chain } from '../chain.js';
import { isInForce } from '../hold.js';
import { calendarOf } from './calendar.js';
import type { Decision, KeepReason } from './decision.js';
import { neededForOrder } from './order-witnesses.js';
import { periods, saysWhatGoes, type KeepRules, type RetentionPolicy } from './policy.js';

/** What is known beside the policy. */
export interface RetentionFacts {
  /** By the receiver's clock, in milliseconds since 1970. */
  readonly nowMs: number;
  /** The backups that the next increments of source images build on; null when the source could not be asked. */
  readonly bases: ReadonlySet<BackupId> | null;
}

type Place = Placed<Chain>;
type Kept = Generator<readonly [Backup, KeepReason], void, undefined>;

/**
 * What is to become of each backup of one image, oldest first, with all the reasons. Decided again for what is left, it is the same.
 *
 * Stays, whatever the rules say: the newest backup, what the next increment builds on, what is held, and what is younger than the policy's
 * `minAgeMs`. No policy, and no clock that is wrong, takes the last one.
 *
 * @param chains with the backups of that image and no others, see `byImage`
 */
export const decideRetention = (
  policy: RetentionPolicy,
  chains: readonly Chain[],
  facts: RetentionFacts,
): Decision[] => {
  const ordered = newestFirst(chains);
  const times = timesOf(chains, facts.nowMs);
  const reasons = new Map<BackupId, KeepReason[]>(ordered.map(({ backup }) => [backup.id, []]));
  const note = (kept: Kept) => {
    for (const [{ id }, reason] of kept) reasons.get(id)?.push(reason);
  };
  note(protectedOnes(policy, ordered, { ...facts, times }));
  note(keptByRules(policy, ordered, { ...facts, times }));
  note(neededForOrder(chains, ({ id }) => (reasons.get(id)?.length ?? 0) > 0));
  return ordered.map(({ backup }) => decisionOf(policy, backup, reasons.get(backup.id) ?? [])).toReversed();
};

const decisionOf = ({ olderThanMs }: RetentionPolicy, backup: Backup, reasons: readonly KeepReason[]): Decision => {
  if (reasons.length > 0) return { kind: 'kept', backup, reasons };
  return {
    kind: 'goes',
    backup,
    reasons: [olderThanMs === null ? { kind: 'no-rule' } : { kind: 'older-than', olderThanMs }],
  };
};

interface Known extends RetentionFacts {
  /** When each was committed, for rules about age. */
  readonly times: ReadonlyMap<BackupId, number>;
}

function* protectedOnes(policy: RetentionPolicy, ordered: readonly Place[], known: Known): Kept {
  const { nowMs, bases, times } = known;
  const { minAgeMs } = policy;
  const keepIds = new Set(policy.keepIds);
  for (const [place, { backup }] of ordered.entries()) {
    const { id, hold } = backup;
    if (place === 0) yield [backup, { kind: 'newest' }];
    if (bases === null) yield [backup, { kind: 'source-unknown' }];
    else if (bases.has(id)) yield [backup, { kind: 'base' }];
    if (hold !== null && isInForce(hold, nowMs)) yield [backup, { kind: 'held', hold }];
    if (minAgeMs > 0 && (times.get(id) ?? nowMs) > nowMs - minAgeMs) yield [backup, { kind: 'min-age', minAgeMs }];
    if (keepIds.has(id)) yield [backup, { kind: 'id' }];
  }
}

function* keptByRules(policy: RetentionPolicy, ordered: readonly Place[], known: Known): Kept {
  const { keep, olderThanMs } = policy;
  for (const { backup } of ordered.slice(0, keep.last)) yield [backup, { kind: 'last', count: keep.last }];
  yield* keptInChains(keep, ordered);
  yield* keptWithin(keep, ordered, known);
  yield* keptByCalendar(policy, ordered);
  if (olderThanMs !== null) {
    const { nowMs, times } = known;
    for (const { backup } of ordered) {
      if ((times.get(backup.id) ?? nowMs) >= nowMs - olderThanMs) yield [backup, { kind: 'younger', olderThanMs }];
    }
  }
  if (!saysWhatGoes(policy)) for (const { backup } of ordered) yield [backup, { kind: 'no-policy' }];
}

function* keptInChains({ full: count }: KeepRules, ordered: readonly Place[]): Kept {
  const chains = new Set([...new Set(ordered.map(({ chain }) => chain))].slice(0, count));
  for (const { backup, chain } of ordered) if (chains.has(chain)) yield [backup, { kind: 'full', count }];
}

/** Reckoned from the newest backup and not from now: when backups have stopped, what is there does not go away for that. */
function* keptWithin({ withinMs }: KeepRules, ordered: readonly Place[], { nowMs, times }: Known): Kept {
  const timeOf = ({ id }: Backup) => times.get(id) ?? nowMs;
  const [newest] = ordered;
  if (withinMs === 0 || newest === undefined) return;
  const sinceMs = Math.min(nowMs, timeOf(newest.backup)) - withinMs;
  for (const { backup } of ordered) if (timeOf(backup) >= sinceMs) yield [backup, { kind: 'within', withinMs }];
}

/**
 * Of each stretch of the calendar the newest backup, for the N newest stretches that have one: a gap uses up nothing.
 *
 * The time is the commit's own and not that of `commitTimes`: that would move a whole history into one day as soon as a time that was wrong
 * by years, and lay in the future, has come. What a wrong clock can do here is to make a stretch come a second time in the order of the
 * backups. Then its newest one stays each time, and the stretch counts once: rather one too many.
 */
function* keptByCalendar({ keep, timeZone }: RetentionPolicy, ordered: readonly Place[]): Kept {
  const wanted = periods.filter((period) => keep[period] > 0);
  if (wanted.length === 0) return;
  const calendar = calendarOf(timeZone);
  const named = ordered.map(({ backup }) => ({ backup, names: calendar(backup.committedAtMs) }));
  for (const period of wanted) {
    const seen = new Set<string>();
    let last: string | null = null;
    for (const { backup, names } of named) {
      const bucket = names[period];
      if (bucket === last) continue;
      seen.add(bucket);
      if (seen.size > keep[period]) break;
      last = bucket;
      yield [backup, { kind: period, bucket }];
    }
  }
}

const timesOf = (chains: readonly Chain[], nowMs: number): Map<BackupId, number> => {
  const times = new Map<BackupId, number>();
  for (const chain of chains) {
    const committed = commitTimes(chain, nowMs);
    for (const [index, { id }] of chain.backups.entries()) times.set(id, committed[index] ?? nowMs);
  }
  return times;
};
