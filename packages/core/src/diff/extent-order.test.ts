import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { AscendingOrder, WindowedOrder, type ExtentOrder, type OrderVerdict } from './extent-order.js';

type Extent = readonly [offset: number, end: number];

const verdicts = (order: ExtentOrder, extents: readonly Extent[]): OrderVerdict[] =>
  extents.map(([offset, end]) => order.add(offset, end));

/** The first refusal of a stream, found the slow way: by looking at every earlier extent. */
function slowRefusal(extents: readonly Extent[], windowBytes: number): OrderVerdict {
  for (const [index, [offset, end]] of extents.entries()) {
    const before = extents.slice(0, index);
    const window = (at: number): number => Math.floor(at / windowBytes);
    if (before.some(([other]) => window(other) > window(offset))) return 'extent-out-of-order';
    if (before.some(([otherOffset, otherEnd]) => otherOffset < end && offset < otherEnd)) return 'extent-overlap';
  }
  return 'accepted';
}

const extent = fc
  .tuple(fc.nat({ max: 120 }), fc.integer({ min: 1, max: 8 }))
  .map(([offset, length]): Extent => [offset, offset + length]);

describe('ascending order', () => {
  test.each<{ name: string; second: Extent; verdict: OrderVerdict }>([
    { name: 'touches the last', second: [20, 30], verdict: 'accepted' },
    { name: 'overlaps its last byte', second: [19, 30], verdict: 'extent-overlap' },
    { name: 'is the last again', second: [10, 20], verdict: 'extent-overlap' },
    { name: 'ends on its first byte', second: [5, 11], verdict: 'extent-overlap' },
    { name: 'ends before it', second: [5, 10], verdict: 'extent-out-of-order' },
  ])('of an extent that $name: $verdict', ({ second, verdict }) => {
    expect(verdicts(new AscendingOrder(), [[10, 20], second])).toEqual(['accepted', verdict]);
  });
});

describe('windowed order', () => {
  test('agrees with looking at every earlier extent', () => {
    const windowBytes = fc.integer({ min: 1, max: 64 });
    const byWindow = (bytes: number, extents: readonly Extent[]): Extent[] =>
      [...extents].sort(([a], [b]) => Math.floor(a / bytes) - Math.floor(b / bytes));
    fc.assert(
      fc.property(windowBytes, fc.array(extent, { maxLength: 10 }), fc.boolean(), (bytes, extents, sorted) => {
        const stream = sorted ? byWindow(bytes, extents) : extents;
        const found = verdicts(new WindowedOrder(bytes, 100), stream).find((verdict) => verdict !== 'accepted');
        expect(found ?? 'accepted').toBe(slowRefusal(stream, bytes));
      }),
      { numRuns: 5000 },
    );
  });

  test('remembers the end of an extent that reaches into a later window', () => {
    expect(
      verdicts(new WindowedOrder(100, 10), [
        [90, 310],
        [300, 400],
      ]),
    ).toEqual(['accepted', 'extent-overlap']);
  });

  test('remembers no more than it was allowed, and forgets a window it has left', () => {
    const order = new WindowedOrder(100, 2);
    expect(
      verdicts(order, [
        [0, 1],
        [4, 5],
        [100, 101],
        [104, 105],
        [102, 103],
      ]),
    ).toEqual(['accepted', 'accepted', 'accepted', 'accepted', 'window-too-scattered']);
  });

  test('counts extents that touch as one', () => {
    const touching = Array.from({ length: 50 }, (_, index): Extent => [2 * index, 2 * index + 2]);
    expect(verdicts(new WindowedOrder(100, 1), touching)).not.toContain('window-too-scattered');
  });
});
