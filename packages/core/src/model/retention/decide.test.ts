import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatTimestamp, snapNameOf, type BackupId } from '../backup-id.js';
import type { Chain } from '../chain.js';
import { byImage } from '../image-backups.js';
import { chainOfBackups } from '../made-up-chain.js';
import { decideRetention } from './decide.js';
import { noKeepRules } from './policy.js';

/** The rules of `rbdferry delete`: an age, and numbers of backups and of chains. */
interface DeletePolicy {
  readonly olderThanMs: number | null;
  readonly keepLast: number | null;
  readonly keepFull: number | null;
  readonly keepIds: readonly BackupId[];
}

const day = 86_400_000;
const now = 100 * day;
const noRules: DeletePolicy = { olderThanMs: null, keepLast: null, keepFull: null, keepIds: [] };

const expiredBackups = (policy: DeletePolicy, chains: readonly Chain[], nowMs: number): BackupId[] => {
  const { olderThanMs, keepLast, keepFull, keepIds } = policy;
  const keep = { ...noKeepRules, last: keepLast ?? 0, full: keepFull ?? 0 };
  const whole = { olderThanMs, keep, keepIds, minAgeMs: 0, timeZone: 'UTC' };
  return decideRetention(whole, chains, { nowMs, bases: new Set() }).flatMap(({ kind, backup }) =>
    kind === 'goes' ? [backup.id] : [],
  );
};

/** Chains written as days of their backups' commits, in the order of the chain: [[1, 2], [5, 6]]. */
const chainsOf = (days: readonly (readonly number[])[]): Chain[] =>
  days.map((chain, index) =>
    chainOfBackups(
      `vm${index}`,
      chain.map((each) => ({ image: 'vm', committedAtMs: each * day })),
    ),
  );

const daysGone = (policy: Partial<DeletePolicy>, days: readonly (readonly number[])[]): number[] => {
  const chains = chainsOf(days);
  const gone = new Set(expiredBackups({ ...noRules, ...policy }, chains, now));
  return chains
    .flatMap((chain) => chain.backups)
    .filter((backup) => gone.has(backup.id))
    .map((backup) => backup.committedAtMs / day);
};

describe('the rules of delete', () => {
  it.each<[string, Partial<DeletePolicy>, number[][], number[]]>([
    [
      'keeps the newest three',
      { keepLast: 3 },
      [
        [1, 2, 3],
        [4, 5],
      ],
      [1, 2],
    ],
    ['keeps more than there are', { keepLast: 9 }, [[1, 2]], []],
    [
      'keeps the newest chain',
      { keepFull: 1 },
      [
        [1, 2, 3],
        [4, 5],
      ],
      [1, 2, 3],
    ],
    [
      'a chain that went on counts by its newest backup',
      { keepFull: 1 },
      [
        [1, 2, 9],
        [4, 5],
      ],
      [4, 5],
    ],
    [
      'by age',
      { olderThanMs: 10 * day },
      [
        [1, 89],
        [91, 99],
      ],
      [1, 89],
    ],
    ['by age, but never the last one', { olderThanMs: 10 * day }, [[1, 2]], [1]],
    [
      'older ones, but never what a keep rule keeps',
      { olderThanMs: 10 * day, keepLast: 3 },
      [[1, 2, 3, 80, 81]],
      [1, 2],
    ],
    ['of what no keep rule keeps only the older ones', { olderThanMs: 10 * day, keepLast: 1 }, [[1, 95], [96]], [1]],
    [
      'what either of two keep rules keeps',
      { keepLast: 3, keepFull: 1 },
      [
        [1, 2, 3],
        [4, 5],
      ],
      [1, 2],
    ],
    [
      'the newest is the last of its chain, though the clock was ahead before',
      { keepLast: 1 },
      [[500, 501, 98]],
      [500, 501],
    ],
    [
      'the same in a chain of its own',
      { keepLast: 2 },
      [
        [500, 501, 97],
        [98, 99],
      ],
      [500, 501, 97],
    ],
    [
      'a clock that was behind makes nothing old that follows something young',
      { olderThanMs: 10 * day },
      [[1, 95, 3, 96]],
      [1],
    ],
    ['a clock that was ahead does not keep what follows', { olderThanMs: 10 * day }, [[500, 5, 6, 99]], [5, 6]],
    ['no rule, nothing', {}, [[1, 2]], []],
    ['nothing there', { keepLast: 1 }, [], []],
  ])('%s', (_, policy, days, gone) => {
    expect(daysGone(policy, days)).toEqual(gone);
  });

  it('keeps what is named', () => {
    const chains = chainsOf([[1, 2, 3]]);
    const [first] = (chains[0]?.backups ?? []).map(({ id }) => id);
    const policy = { ...noRules, keepLast: 1, keepIds: first === undefined ? [] : [first] };
    expect(expiredBackups(policy, chains, now)).toEqual([chains[0]?.backups[1]?.id]);
  });

  /** Days of commits that are all different, dealt out to chains whose days go up. */
  const anyChains = fc
    .tuple(
      fc.uniqueArray(fc.integer({ min: 1, max: 99 }), { minLength: 1, maxLength: 20 }),
      fc.integer({ min: 1, max: 5 }),
    )
    .map(([days, count]) => {
      const sorted = days.toSorted((a, b) => a - b);
      return Array.from({ length: count }, (_, index) => sorted.filter((_, at) => at % count === index)).filter(
        (chain) => chain.length > 0,
      );
    });
  const anyPolicy = fc.record({
    olderThanMs: fc.option(fc.integer({ min: 0, max: 100 * day })),
    keepLast: fc.option(fc.integer({ min: 1, max: 30 })),
    keepFull: fc.option(fc.integer({ min: 1, max: 6 })),
  });

  it('never takes the newest backup', () => {
    fc.assert(
      fc.property(anyChains, anyPolicy, (days, policy) => {
        expect(daysGone(policy, days)).not.toContain(Math.max(...days.flat()));
      }),
    );
  });

  it('never takes what one of its keep rules alone would keep, and takes nothing that is younger than the age', () => {
    fc.assert(
      fc.property(anyChains, anyPolicy, (days, policy) => {
        const gone = daysGone(policy, days);
        for (const rule of ['keepLast', 'keepFull'] as const) {
          if (policy[rule] === null) continue;
          expect(daysGone({ [rule]: policy[rule] }, days)).toEqual(expect.arrayContaining(gone));
        }
        const { olderThanMs } = policy;
        if (olderThanMs !== null) expect(gone.filter((each) => each * day >= now - olderThanMs)).toEqual([]);
      }),
    );
  });

  it('goes by commits: whatever the times in the names are, the same backups go', () => {
    fc.assert(
      fc.property(
        anyChains,
        anyPolicy,
        fc.infiniteStream(fc.integer({ min: 1, max: 10_000 })),
        (days, policy, times) => {
          const chains = chainsOf(days);
          const otherNames = chains.map((chain) => ({
            ...chain,
            backups: chain.backups.map((backup) => {
              const at = BigInt(times.next().value ?? 1) * BigInt(day) * 1000n;
              return { ...backup, snap: snapNameOf(formatTimestamp(at)) };
            }),
          }));
          const rules = { ...noRules, ...policy };
          expect(expiredBackups(rules, otherNames, now)).toEqual(expiredBackups(rules, chains, now));
        },
      ),
    );
  });

  it('of images that share chains each is treated as if it were alone', () => {
    const anyBackup = fc.record({ image: fc.constantFrom('prod', 'copy'), chain: fc.integer({ min: 0, max: 2 }) });
    fc.assert(
      fc.property(fc.array(anyBackup, { minLength: 1, maxLength: 20 }), anyPolicy, (made, policy) => {
        const shared = [0, 1, 2].map((chain) =>
          chainOfBackups(
            `chain${chain}`,
            made.flatMap((each, index) =>
              each.chain === chain ? [{ image: each.image, committedAtMs: index * day }] : [],
            ),
          ),
        );
        const gone = new Set<BackupId>();
        for (const { chains } of byImage(shared)) {
          for (const id of expiredBackups({ ...noRules, ...policy }, chains, now)) gone.add(id);
        }
        const left = shared.flatMap(({ backups }) => backups).filter(({ id }) => !gone.has(id));
        for (const image of new Set(made.map((each) => each.image))) {
          const newest = made.map((each) => each.image).lastIndexOf(image);
          expect(left.map(({ committedAtMs }) => committedAtMs)).toContain(newest * day);
        }
      }),
    );
  });
});
