import * as fc from 'fast-check';
import { expect, it } from 'vitest';
import { ExtentSum, estimatedStreamBytes } from './diff-extents.js';

/** What rbd 16.2.15 prints, in one line. */
const answer =
  '[{"offset":0,"length":4194304,"exists":"true"},{"offset":4194304,"length":4096,"exists":"false"},{"offset":8388608,"length":512,"exists":"true"}]\n';

it('sums whatever the pieces are in which the output comes', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: answer.length })), (cuts) => {
      const sum = new ExtentSum('compare');
      const at = [0, ...cuts.toSorted((a, b) => a - b), answer.length];
      for (const [index, start] of at.entries()) sum.add(Buffer.from(answer.slice(start, at[index + 1])));
      expect(sum.result).toEqual({ dataBytes: 4194816n, zeroBytes: 4096n, extents: 3 });
    }),
  );
});

it('finds nothing in an empty diff', () => {
  const sum = new ExtentSum('compare');
  sum.add(Buffer.from('[]\n'));
  expect(sum.result).toEqual({ dataBytes: 0n, zeroBytes: 0n, extents: 0 });
});

it('refuses extents it does not know', () => {
  expect(() => new ExtentSum('compare').add(Buffer.from('[{"from":0,"to":1}'))).toThrow(
    expect.objectContaining({ code: 'CEPH_FAILED' }),
  );
});

it('expects no less than a stream of these extents has', () => {
  const estimate = estimatedStreamBytes({ dataBytes: 1203n * 4096n, zeroBytes: 0n, extents: 1203 });
  const exact = 12n + 35n + 35n + 9n + 1203n * (17n + 4096n) + 1n;
  expect(estimate).toBeGreaterThanOrEqual(exact);
  expect(estimate - exact).toBeLessThan(100n);
});
