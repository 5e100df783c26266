import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { chainNameOf, formatBackupId, formatTimestamp, snapNameOf } from './backup-id.js';
import type { Backup, Chain } from './chain.js';
import { expiredBackups, type RetentionPolicy } from './retention.js';

const day = 86_400_000;
const now = 100 * day;

/** Chains written as days of their backups: [[1, 2], [5, 6]]. */
const chainsOf = (days: readonly (readonly number[])[]): Chain[] =>
  days.map((chain) => {
    const first = formatTimestamp(BigInt(chain[0] ?? 0) * BigInt(day) * 1000n);
    const name = chainNameOf('vm', first);
    const backups = chain.map((each): Backup => {
      const snap = snapNameOf(formatTimestamp(BigInt(each) * BigInt(day) * 1000n));
      return {
        id: formatBackupId({ store: 's', chain: name, snap }),
        snap,
        kind: 'full',
        source: null,
        sizeBytes: 0n,
        streamBytes: 0n,
        dataBytes: 0n,
        streamGmac: new Uint8Array(),
        committedAtMs: each * day,
        baseId: null,
        client: null,
      };
    });
    return { store: 's', name, backups, active: false, legacy: false, partial: false };
  });

const daysGone = (policy: Partial<RetentionPolicy>, days: readonly (readonly number[])[]): number[] => {
  const chains = chainsOf(days);
  const gone = new Set(expiredBackups({ olderThanMs: null, keepLast: null, keepFull: null, ...policy }, chains, now));
  return chains
    .flatMap((chain) => chain.backups)
    .filter((backup) => gone.has(backup.id))
    .map((backup) => backup.committedAtMs / day);
};

describe('expiredBackups', () => {
  it.each<[string, Partial<RetentionPolicy>, number[][], number[]]>([
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
    ['any of several rules', { olderThanMs: 10 * day, keepLast: 1 }, [[1, 95], [96]], [1, 95]],
    ['nothing there', { keepLast: 1 }, [], []],
  ])('%s', (_, policy, days, gone) => {
    expect(daysGone(policy, days)).toEqual(gone);
  });

  it('never takes the newest backup', () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.integer({ min: 1, max: 99 }), { minLength: 1, maxLength: 20 }),
        fc.integer({ min: 1, max: 5 }),
        fc.record({
          olderThanMs: fc.option(fc.integer({ min: 0, max: 100 * day })),
          keepLast: fc.option(fc.integer({ min: 1, max: 30 })),
          keepFull: fc.option(fc.integer({ min: 1, max: 6 })),
        }),
        (days, chains, policy) => {
          const sorted = days.toSorted((a, b) => a - b);
          const groups = Array.from({ length: chains }, (_, index) => sorted.filter((_, at) => at % chains === index));
          expect(
            daysGone(
              policy,
              groups.filter((group) => group.length > 0),
            ),
          ).not.toContain(Math.max(...days));
        },
      ),
    );
  });
});
