import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { commitTimes, newestFirst, newestOf } from './backup-order.js';

/** A chain as the times of its commits. */
const chainOf = (...times: number[]) => ({ backups: times.map((committedAtMs) => ({ committedAtMs })) });
const timesOf = (chains: ReturnType<typeof chainOf>[]) => newestFirst(chains).map(({ backup }) => backup.committedAtMs);

describe('the order of backups', () => {
  it.each<[string, number[][], number[]]>([
    ['one chain', [[1, 2, 3]], [3, 2, 1]],
    [
      'two that were made side by side',
      [
        [1, 3, 5],
        [2, 4],
      ],
      [5, 4, 3, 2, 1],
    ],
    ['the place in the chain counts where the clock was ahead', [[400, 401, 3]], [3, 401, 400]],
    ['and where it was behind', [[1, 2, -400, 3]], [3, -400, 2, 1]],
    ['a chain is as new as its last backup', [[400, 401, 3], [4]], [4, 3, 401, 400]],
    ['none', [[], []], []],
  ])('%s', (_, chains, expected) => {
    expect(timesOf(chains.map((chain) => chainOf(...chain)))).toEqual(expected);
  });

  const anyChains = fc.array(
    fc.array(fc.integer({ min: 0, max: 1000 }), { maxLength: 6 }).map((times) => chainOf(...times)),
    { maxLength: 5 },
  );

  it('holds each backup once, and never one before one that follows it in its chain', () => {
    fc.assert(
      fc.property(anyChains, (chains) => {
        const ordered = newestFirst(chains);
        expect(ordered).toHaveLength(chains.flatMap(({ backups }) => backups).length);
        for (const chain of chains) {
          const own = ordered.filter((placed) => placed.chain === chain).map(({ backup }) => backup);
          expect(own).toEqual(chain.backups.toReversed());
        }
        expect(newestOf(chains)).toEqual(ordered[0]);
      }),
    );
  });

  it('is the order of the commits when the clock never jumped', () => {
    fc.assert(
      fc.property(anyChains, (chains) => {
        const sorted = chains.map(({ backups }) =>
          chainOf(...backups.map(({ committedAtMs }) => committedAtMs).toSorted((a, b) => a - b)),
        );
        const times = timesOf(sorted);
        expect(times).toEqual(times.toSorted((a, b) => b - a));
      }),
    );
  });
});

describe('the times of the commits', () => {
  it.each<[string, number[], number[]]>([
    ['as they are', [1, 2, 3], [1, 2, 3]],
    ['never before one that it follows', [5, 1, 6], [5, 5, 6]],
    ['a time in the future says nothing of others', [500, 1, 2], [500, 1, 2]],
  ])('%s', (_, times, expected) => {
    expect(commitTimes(chainOf(...times), 100)).toEqual(expected);
  });
});
