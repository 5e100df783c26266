import { describe, expect, it } from 'vitest';
import type { BackupId } from '../backup-id.js';
import { newestOf } from '../backup-order.js';
import type { Backup, Chain } from '../chain.js';
import { isInForce, type Hold } from '../hold.js';
import { chainOfBackups } from '../made-up-chain.js';
import { decideRetention } from './decide.js';
import type { Decision } from './decision.js';
import { noKeepRules, periods, type RetentionPolicy } from './policy.js';

/**
 * Ten years of nights, with a prune after each of them: summer time begins and ends twenty times, nights fail, the receiver is away for weeks, its
 * clock is wrong now and then, and people hold backups. The numbers are seeded, so each run is the same.
 */

const hour = 3_600_000;
const day = 24 * hour;
const nights = 3652;
const firstNight = Date.parse('2026-01-01T01:30:00Z');

const policy: RetentionPolicy = {
  olderThanMs: null,
  keep: { ...noKeepRules, hourly: 24, daily: 7, weekly: 5, monthly: 12, yearly: 10, withinMs: 2 * day },
  keepIds: [],
  minAgeMs: 12 * hour,
  timeZone: 'Europe/Berlin',
};

const isPeriod = (kind: string): boolean => (periods as readonly string[]).includes(kind);

/** Numbers from 0 to below 1, the same for the same seed (mulberry32). */
const seeded = (seed: number) => {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
};

interface World {
  /** Whether the receiver's clock is wrong now and then. */
  readonly isClockWrong: boolean;
  /** Nights after which a full begins a chain of its own. */
  readonly nightsOfChain: number;
}

/** Runs the years; `looked` is called with each prune's decisions, about what is there, and everything that was ever made. */
const simulate = (
  world: World,
  looked: (seen: { decisions: Decision[]; there: Chain[]; ever: Chain[]; nowMs: number; night: number }) => void,
): { made: number; left: Backup[]; ever: Backup[] } => {
  const random = seeded(20261130);
  const ever: Backup[][] = [[]];
  const gone = new Set<BackupId>();
  const holds = new Map<BackupId, Hold>();
  let away = 0;
  const chains = (isThere: (backup: Backup) => boolean): Chain[] =>
    ever.flatMap((backups, index) => {
      const shown = backups.filter(isThere).map((backup) => ({ ...backup, hold: holds.get(backup.id) ?? null }));
      return shown.length === 0 ? [] : [chainOfBackups(`vm${index}`, [], { backups: shown })];
    });
  for (let night = 0; night < nights; night += 1) {
    const nowMs = firstNight + night * day + Math.floor(random() * hour);
    if (random() < 0.003) away = Math.floor(random() * 40);
    away -= 1;
    const fails = away >= 0 || random() < 0.03;
    if (night % world.nightsOfChain === world.nightsOfChain - 1) ever.push([]);
    const chain = ever.at(-1) ?? [];
    const wrongBy = world.isClockWrong && random() < 0.01 ? (random() - 0.5) * 800 * day : 0;
    for (let tries = random() < 0.1 ? 3 : 1; !fails && tries > 0; tries -= 1) {
      const committedAtMs = Math.floor(nowMs - (tries - 1) * 20 * 60_000 + wrongBy);
      const [backup] = chainOfBackups(`vm${ever.length - 1}`, [
        { image: 'vm', committedAtMs, nameHours: night * 4 + tries },
      ]).backups;
      if (backup !== undefined) chain.push(backup);
    }
    const newest = chain.at(-1);
    if (newest !== undefined && random() < 0.01) {
      const untilMs = random() < 0.9 ? nowMs + Math.floor(random() * 1000) * day : null;
      holds.set(newest.id, { untilMs, reason: 'audit', sinceMs: nowMs, client: 'c' });
    }
    const there = chains(({ id }) => !gone.has(id));
    const decisions = decideRetention(policy, there, { nowMs, bases: new Set() });
    looked({ decisions, there, ever: night % 50 === 0 ? chains(() => true) : [], nowMs, night });
    for (const { kind, backup } of decisions) if (kind === 'goes') gone.add(backup.id);
  }
  const all = ever.flat();
  return { made: all.length, left: all.filter(({ id }) => !gone.has(id)), ever: all };
};

const worlds: [string, { made: number; left: number; most: number }, World][] = [
  ['one chain', { made: 4038, left: 50, most: 56 }, { isClockWrong: false, nightsOfChain: Infinity }],
  ['a full each 30 nights', { made: 4079, left: 50, most: 57 }, { isClockWrong: false, nightsOfChain: 30 }],
  [
    'one chain, a clock that is wrong',
    { made: 4033, left: 82, most: 86 },
    { isClockWrong: true, nightsOfChain: Infinity },
  ],
  ['both', { made: 4043, left: 97, most: 97 }, { isClockWrong: true, nightsOfChain: 30 }],
];

describe('ten years of nights', () => {
  it.each(worlds)('%s: %o', (_, figures, world) => {
    const most = { there: 0 };
    const { made, left } = simulate(world, ({ decisions, there, ever, nowMs, night }) => {
      const kept = new Set(decisions.flatMap(({ kind, backup }) => (kind === 'kept' ? [backup.id] : [])));
      most.there = Math.max(most.there, kept.size);
      for (const { kind, backup } of decisions) {
        if (kind === 'kept') continue;
        expect(backup.hold !== null && isInForce(backup.hold, nowMs)).toBe(false);
        expect(backup.committedAtMs).toBeLessThanOrEqual(nowMs - policy.minAgeMs);
      }
      const newest = newestOf(there)?.backup;
      if (newest !== undefined) expect(kept.has(newest.id)).toBe(true);
      if (night % 10 === 0) {
        // Once more at once changes nothing.
        const left = there.map((chain) => ({ ...chain, backups: chain.backups.filter(({ id }) => kept.has(id)) }));
        const again = decideRetention(policy, left, { nowMs, bases: new Set() });
        expect(again.filter(({ kind }) => kind === 'goes')).toEqual([]);
      }
      // What the calendar rules would keep of everything that was ever made is still there: no earlier run took what a later one wants. Where
      // chains lie side by side and the clock was wrong nobody knows their order, and what is wanted changes with what is learnt.
      if (ever.length > 0 && !(world.isClockWrong && ever.length > 1)) {
        const wanted = decideRetention(policy, ever, { nowMs, bases: new Set() }).filter(({ reasons }) =>
          reasons.some(({ kind }) => isPeriod(kind)),
        );
        expect(wanted.filter(({ backup }) => !kept.has(backup.id))).toEqual([]);
      }
    });
    expect({ made, left: left.length, most: most.there }).toEqual(figures);
  });
});

it('10,000 backups are decided in one go', () => {
  const chains = Array.from({ length: 20 }, (_, index) =>
    chainOfBackups(
      `vm${index}`,
      Array.from({ length: 500 }, (_, place) => ({
        image: 'vm',
        committedAtMs: firstNight + (index * 500 + place) * 6 * hour,
        nameHours: place,
      })),
    ),
  );
  const nowMs = firstNight + 10_000 * 6 * hour;
  const decisions = decideRetention(policy, chains, { nowMs, bases: new Set() });
  expect(decisions).toHaveLength(10_000);
});
