import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { BackupId } from '../backup-id.js';
import { newestFirst } from '../backup-order.js';
import type { Chain } from '../chain.js';
import type { Hold } from '../hold.js';
import { chainOfBackups } from '../made-up-chain.js';
import { calendarOf } from './calendar.js';
import { decideRetention, type RetentionFacts } from './decide.js';
import { describeDecision, type Decision } from './decision.js';
import { keepsSomething, noKeepRules, periods, saysWhatGoes, type KeepRules, type RetentionPolicy } from './policy.js';

const hour = 3_600_000;
const day = 24 * hour;
const now = Date.parse('2026-11-30T12:00:00Z');

const policyOf = (keep: Partial<KeepRules>, over: Partial<RetentionPolicy> = {}): RetentionPolicy => ({
  olderThanMs: null,
  keep: { ...noKeepRules, ...keep },
  keepIds: [],
  minAgeMs: 0,
  timeZone: 'UTC',
  ...over,
});

const isoOf = (ms: number) => new Date(ms).toISOString().slice(0, 16);

/** Chains by the times of their commits, as 2026-11-30T12:00. */
const chainsOf = (...times: string[][]): Chain[] =>
  times.map((chain, index) =>
    chainOfBackups(
      `vm${index}`,
      chain.map((time) => ({ image: 'vm', committedAtMs: Date.parse(`${time}Z`) })),
    ),
  );

const noBases: RetentionFacts = { nowMs: now, bases: new Set() };

const told = (decisions: readonly Decision[]): Record<string, string> =>
  Object.fromEntries(decisions.map((decision) => [isoOf(decision.backup.committedAtMs), describeDecision(decision)]));

const decided = (policy: RetentionPolicy, chains: readonly Chain[], facts: Partial<RetentionFacts> = {}) =>
  told(decideRetention(policy, chains, { ...noBases, ...facts }));

describe('the calendar rules', () => {
  it('keep the newest of each stretch, and a gap uses up nothing', () => {
    const chains = chainsOf([
      '2026-11-01T02:00',
      '2026-11-10T02:00',
      '2026-11-10T14:00',
      '2026-11-29T02:00',
      '2026-11-29T14:00',
    ]);
    expect(decided(policyOf({ daily: 2 }), chains)).toEqual({
      '2026-11-01T02:00': 'goes: no rule keeps it',
      '2026-11-10T02:00': 'goes: no rule keeps it',
      '2026-11-10T14:00': 'kept: daily 2026-11-10',
      '2026-11-29T02:00': 'goes: no rule keeps it',
      '2026-11-29T14:00': 'kept: newest, daily 2026-11-29',
    });
  });

  it('tell of every rule that keeps a backup', () => {
    const chains = chainsOf(['2026-02-01T02:00', '2026-03-21T02:00', '2026-03-22T02:00']);
    const keep = { last: 1, hourly: 1, daily: 2, weekly: 2, monthly: 2, yearly: 3, withinMs: 36 * hour, full: 1 };
    expect(decided(policyOf({ ...keep, full: 0 }), chains)).toEqual({
      '2026-02-01T02:00': 'kept: weekly 2026-W05, monthly 2026-02',
      '2026-03-21T02:00': 'kept: within 36h, daily 2026-03-21',
      '2026-03-22T02:00':
        'kept: newest, one of the last 1, within 36h, hourly 2026-03-22 02:00+00:00, daily 2026-03-22, weekly 2026-W12, monthly 2026-03, yearly 2026',
    });
  });

  it('reckon in the time zone of the policy', () => {
    const chains = chainsOf(['2026-11-28T22:30', '2026-11-28T23:30', '2026-11-29T22:30']);
    const keptIn = (timeZone: string) =>
      Object.entries(decided(policyOf({ daily: 9 }, { timeZone }), chains)).flatMap(([time, text]) =>
        text.startsWith('kept') ? [time.slice(8)] : [],
      );
    expect(keptIn('UTC')).toEqual(['28T23:30', '29T22:30']);
    expect(keptIn('Europe/Berlin')).toEqual(['28T22:30', '29T22:30']);
  });

  it.each([
    ['the hour that is repeated is two', '2026-10-25T00:30', '2026-10-25T01:30', 2],
    ['the hour that is left out is none', '2026-03-29T00:30', '2026-03-29T01:30', 2],
    ['within one hour the newest', '2026-10-25T00:10', '2026-10-25T00:50', 1],
  ])('and know summer time: %s', (_, first, second, kept) => {
    const texts = Object.values(
      decided(policyOf({ hourly: 9 }, { timeZone: 'Europe/Berlin' }), chainsOf([first, second])),
    );
    expect(texts.filter((text) => text.startsWith('kept'))).toHaveLength(kept);
  });

  it('a clock that was set back by days loses none of them', () => {
    const times = ['20', '21', '22', '23', '20', '21', '22', '28'].map((each, index) => `2026-11-${each}T0${index}:00`);
    const goes = Object.entries(decided(policyOf({ daily: 5 }), chainsOf(times))).filter(([, text]) =>
      text.startsWith('goes'),
    );
    expect(goes.map(([time]) => time)).toEqual([]);
  });

  it('a time that was wrong by years moves nothing else, before it comes and after', () => {
    const times = ['2026-11-01T02:00', '2027-06-01T02:00', '2026-11-03T02:00', '2026-12-04T02:00', '2027-07-05T02:00'];
    for (const nowMs of [now, Date.parse('2028-01-01T00:00:00Z')]) {
      expect(decided(policyOf({ monthly: 12 }), chainsOf(times), { nowMs })).toEqual({
        '2026-11-01T02:00': 'kept: monthly 2026-11',
        '2027-06-01T02:00': 'kept: monthly 2027-06',
        '2026-11-03T02:00': 'kept: monthly 2026-11',
        '2026-12-04T02:00': 'kept: monthly 2026-12',
        '2027-07-05T02:00': 'kept: newest, monthly 2027-07',
      });
    }
  });
});

describe('the other rules', () => {
  it('within reckons from the newest backup: a pause ages nothing out', () => {
    const chains = chainsOf(['2025-01-01T02:00', '2025-01-09T02:00', '2025-01-10T02:00']);
    expect(decided(policyOf({ withinMs: 2 * day }), chains)).toEqual({
      '2025-01-01T02:00': 'goes: no rule keeps it',
      '2025-01-09T02:00': 'kept: within 2d',
      '2025-01-10T02:00': 'kept: newest, within 2d',
    });
  });

  it('and from now when the newest lies in the future', () => {
    const chains = chainsOf(['2026-11-29T02:00', '2036-01-01T02:00']);
    expect(decided(policyOf({ withinMs: 2 * day }), chains)['2026-11-29T02:00']).toBe('kept: within 2d');
  });
});

describe('what no policy takes', () => {
  const chains = chainsOf(['2026-11-01T02:00', '2026-11-02T02:00', '2026-11-30T09:00', '2026-11-30T10:00']);
  const [first, second] = (chains[0]?.backups ?? []).map(({ id }) => id) as [BackupId, BackupId];

  it.each<[string, Partial<RetentionPolicy>, Partial<RetentionFacts>, string[]]>([
    ['the newest', {}, {}, ['goes: no rule keeps it', 'goes: no rule keeps it', 'goes: no rule keeps it']],
    [
      'what an increment builds on',
      {},
      { bases: new Set([second]) },
      ['goes: no rule keeps it', 'kept: the next increment builds on it', 'goes: no rule keeps it'],
    ],
    [
      'anything while that is not known',
      {},
      { bases: null },
      Array.from({ length: 3 }, () => 'kept: the source could not be asked, and the next increment may build on it'),
    ],
    [
      'what is young',
      { minAgeMs: 4 * hour },
      {},
      ['goes: no rule keeps it', 'goes: no rule keeps it', 'kept: younger than the min_age of 4h'],
    ],
    [
      'what is named',
      { keepIds: [first] },
      {},
      ['kept: named to be kept', 'goes: no rule keeps it', 'goes: no rule keeps it'],
    ],
  ])('%s', (_, over, facts, expected) => {
    const texts = Object.values(decided(policyOf({ last: 1 }, over), chains, facts));
    expect(texts.slice(0, 3)).toEqual(expected);
    expect(texts[3]).toMatch(/^kept: newest, /);
  });

  it('what is held, until the hold ends', () => {
    const holds: (Hold | null)[] = [
      { untilMs: null, reason: 'audit', sinceMs: 0, client: 'c' },
      { untilMs: now, reason: '', sinceMs: 0, client: 'c' },
      { untilMs: now + 1000, reason: '', sinceMs: 0, client: 'c' },
      null,
    ];
    const held = chainOfBackups(
      'vm',
      holds.map((hold, index) => ({ image: 'vm', committedAtMs: now - (9 - index) * day, hold })),
    );
    expect(Object.values(decided(policyOf({ last: 1 }), [held]))).toEqual([
      'kept: held ("audit")',
      'goes: no rule keeps it',
      'kept: held until 2026-11-30T12:00:01Z',
      'kept: newest, one of the last 1',
    ]);
  });

  it('anything, when it does not say what goes', () => {
    const policy = policyOf({}, { minAgeMs: day });
    expect([saysWhatGoes(policy), keepsSomething(policy.keep)]).toEqual([false, false]);
    expect(new Set(Object.values(decided(policy, chains)).map((text) => text.slice(0, 4)))).toEqual(new Set(['kept']));
  });
});

describe('where the clock was wrong and chains lie side by side', () => {
  it('what shows their order stays with them: the newest stays the newest', () => {
    const chains = chainsOf(['2026-11-20T00:00', '2026-11-03T00:00'], ['2026-11-04T00:00']);
    const [ahead] = chains[0]?.backups ?? [];
    const policy = policyOf({ last: 1 }, { keepIds: ahead === undefined ? [] : [ahead.id] });
    expect(decided(policy, chains)).toEqual({
      '2026-11-20T00:00': 'kept: named to be kept',
      '2026-11-03T00:00': 'kept: shows the order of others, since the clock was wrong',
      '2026-11-04T00:00': 'kept: newest, one of the last 1',
    });
  });
});

/** Any histories: clocks that jump by hours and by years, in chains side by side, with holds. */
const anyChains = fc
  .array(
    fc.array(
      fc.record({
        committedAtMs: fc.oneof(
          fc.integer({ min: 0, max: 400 }).map((days) => now - days * day),
          fc.integer({ min: 0, max: 100 }).map((hours) => now - hours * hour),
          fc.constantFrom(0, now + 365 * day, now + 1),
        ),
        held: fc.boolean(),
      }),
      { maxLength: 12 },
    ),
    { minLength: 1, maxLength: 4 },
  )
  .map((chains) =>
    chains.map((chain, index) =>
      chainOfBackups(
        `vm${index}`,
        chain.map(({ committedAtMs, held }, place) => ({
          image: 'vm',
          committedAtMs,
          hold: held && place % 5 === 0 ? { untilMs: null, reason: '', sinceMs: 0, client: 'c' } : null,
        })),
      ),
    ),
  );
/** The same with a clock that was right: each chain, and chains one after the other. */
const rightClock = anyChains.map((chains) => {
  const times = chains
    .flatMap(({ backups }) => backups.map(({ committedAtMs }) => committedAtMs))
    .toSorted((a, b) => a - b);
  let next = 0;
  return chains.map((chain) => ({
    ...chain,
    backups: chain.backups.map((backup) => ({ ...backup, committedAtMs: Math.min(times[next++] ?? now, now) })),
  }));
});

const anyKeep = fc.record({
  last: fc.integer({ min: 0, max: 4 }),
  full: fc.integer({ min: 0, max: 2 }),
  hourly: fc.integer({ min: 0, max: 5 }),
  daily: fc.integer({ min: 0, max: 5 }),
  weekly: fc.integer({ min: 0, max: 5 }),
  monthly: fc.integer({ min: 0, max: 5 }),
  yearly: fc.integer({ min: 0, max: 3 }),
  withinMs: fc.integer({ min: 0, max: 5 }).map((days) => days * day),
});
const anyPolicy = fc
  .record({
    keep: anyKeep,
    olderThanMs: fc.option(fc.integer({ min: 0, max: 300 }).map((days) => days * day)),
    minAgeMs: fc.constantFrom(0, 5 * hour, 3 * day),
    timeZone: fc.constantFrom('UTC', 'Europe/Berlin', 'America/New_York', 'Asia/Kolkata', 'Australia/Lord_Howe'),
  })
  .map((policy): RetentionPolicy => ({ ...policy, keepIds: [] }));

const keptIds = (policy: RetentionPolicy, chains: readonly Chain[], facts = noBases): Set<BackupId> =>
  new Set(decideRetention(policy, chains, facts).flatMap(({ kind, backup }) => (kind === 'kept' ? [backup.id] : [])));

const leftOf = (chains: readonly Chain[], kept: ReadonlySet<BackupId>): Chain[] =>
  chains.map((chain) => ({ ...chain, backups: chain.backups.filter(({ id }) => kept.has(id)) }));

describe('whatever the history and the policy', () => {
  it('each backup has a decision, with a reason; the newest, what is held and what is young stay', () => {
    fc.assert(
      fc.property(anyChains, anyPolicy, (chains, policy) => {
        const decisions = decideRetention(policy, chains, noBases);
        expect(decisions.map(({ backup }) => backup)).toEqual(
          newestFirst(chains)
            .map(({ backup }) => backup)
            .toReversed(),
        );
        for (const { reasons } of decisions) expect(reasons.length).toBeGreaterThan(0);
        if (decisions.length > 0) expect(decisions.at(-1)?.kind).toBe('kept');
        for (const { kind, backup } of decisions) {
          if (kind === 'kept') continue;
          expect(backup.hold).toBeNull();
          if (policy.minAgeMs > 0) expect(backup.committedAtMs).toBeLessThanOrEqual(now - policy.minAgeMs);
        }
      }),
    );
  });

  it('decided again for what is left nothing more goes, and what kept a backup keeps it still', () => {
    fc.assert(
      fc.property(anyChains, anyPolicy, (chains, policy) => {
        const first = decideRetention(policy, chains, noBases).filter(({ kind }) => kind === 'kept');
        const left = leftOf(chains, new Set(first.map(({ backup }) => backup.id)));
        const second = decideRetention(policy, left, noBases);
        expect(second.map(({ kind, backup }) => [kind, backup.id])).toEqual(
          first.map(({ backup }) => ['kept', backup.id]),
        );
        for (const [index, { reasons }] of first.entries()) {
          // What stayed only to show the order may be the newest of a stretch by now.
          const lasting = reasons.filter(({ kind: why }) => why !== 'order');
          expect(second[index]?.reasons).toEqual(expect.arrayContaining(lasting));
        }
      }),
      { numRuns: 500 },
    );
  });

  it('more rules keep more', () => {
    fc.assert(
      fc.property(anyChains, anyPolicy, anyKeep, (chains, policy, more) => {
        const names = Object.keys(noKeepRules) as (keyof KeepRules)[];
        const larger = Object.fromEntries(names.map((name) => [name, policy.keep[name] + more[name]]));
        const stricter = { ...policy, keep: { ...noKeepRules, ...larger } };
        const kept = keptIds(policy, chains);
        // A policy that says nothing keeps everything.
        if (saysWhatGoes(policy)) expect([...keptIds(stricter, chains)]).toEqual(expect.arrayContaining([...kept]));
      }),
    );
  });

  it('where the clock was right each of the newest N stretches has its newest backup, and nothing else stays for that', () => {
    fc.assert(
      fc.property(rightClock, fc.constantFrom(...periods), fc.integer({ min: 1, max: 6 }), (chains, period, count) => {
        const calendar = calendarOf('Europe/Berlin');
        const ordered = newestFirst(chains).map(({ backup }) => backup);
        const newestOfEach = new Map(
          ordered.toReversed().map((backup) => [calendar(backup.committedAtMs)[period], backup.id]),
        );
        const stretches = [...newestOfEach.keys()].toReversed().slice(0, count);
        const expected = new Set(stretches.map((stretch) => newestOfEach.get(stretch)));
        const policy = policyOf({ [period]: count }, { timeZone: 'Europe/Berlin' });
        const byRule = decideRetention(policy, chains, noBases)
          .filter(({ reasons }) => reasons.some(({ kind }) => kind === period))
          .map(({ backup }) => backup.id);
        expect(new Set(byRule)).toEqual(expected);
      }),
    );
  });
});
