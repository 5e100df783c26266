import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseRate } from './quantity.js';
import {
  constantRate,
  findOverlap,
  highestRate,
  lowestRate,
  parseTimeOfDay,
  rateAt,
  stricter,
  type Rate,
  type TimedRate,
} from './rate-limit.js';

const KiB = 1024;

describe('a rate', () => {
  it.each<[string, number]>([
    ['50MiB/s', 50 * KiB ** 2],
    ['1.5GiB/s', 1.5 * KiB ** 3],
    ['100MB/s', 1e8],
    ['400Mbit/s', 5e7],
    ['1gbit/s', 125e6],
    ['50 MiB/s', 50 * KiB ** 2],
    ['1KiB/s', KiB],
    ['2048/s', 2048],
    [' 64m/S ', 64 * KiB ** 2],
  ])('%j is %i bytes per second', (text, rate) => {
    expect(parseRate(text)).toEqual({ ok: true, value: rate });
  });

  it.each(['', '50', '50MiB', '50MiB/h', '/s', 'MiB/s', '-1MiB/s', '1e9/s', 'fast/s', '50MiB/s/s', '99999999999TB/s'])(
    '%j is none, and the words say what one is',
    (text) => {
      expect(parseRate(text)).toEqual({
        ok: false,
        problem: `${JSON.stringify(text)} is not a rate such as 50MiB/s or 400Mbit/s`,
      });
    },
  );

  it.each(['0/s', '1/s', '1023/s', '0MiB/s', '1kbit/s'])('%j is too low to be meant', (text) => {
    expect(parseRate(text)).toEqual({
      ok: false,
      problem: `${JSON.stringify(text)} is below the lowest rate, 1KiB/s`,
    });
  });
});

describe('a time of day', () => {
  it.each([
    ['00:00', 0],
    ['8:30', 510],
    ['08:00', 480],
    ['23:59', 1439],
    ['24:00', 1440],
  ])('%s is minute %i', (text, minute) => {
    expect(parseTimeOfDay(text)).toEqual({ ok: true, value: minute });
  });

  it.each(['', '8', '24:01', '25:00', '08:60', '08:00:00', '-1:00', '8h', 'noon', '08.00'])('%j is none', (text) => {
    expect(parseTimeOfDay(text)).toEqual({
      ok: false,
      problem: `${JSON.stringify(text)} is not a time of day such as 08:00`,
    });
  });
});

/** A part of the day from hour to hour. */
const part = (from: number, to: number, rate: Rate): TimedRate => ({ fromMinute: from * 60, toMinute: to * 60, rate });

describe('a limit by time of day', () => {
  const limit = { rate: 100, times: [part(8, 18, 20), part(22, 6, null)] };

  it.each<[string, number, Rate]>([
    ['before it begins', 7 * 60 + 59, 100],
    ['as it begins', 8 * 60, 20],
    ['in the middle', 12 * 60, 20],
    ['at its last minute', 17 * 60 + 59, 20],
    ['as it ends', 18 * 60, 100],
    ['before midnight', 23 * 60, null],
    ['at midnight', 0, null],
    ['after midnight', 5 * 60 + 59, null],
    ['in the morning', 6 * 60, 100],
  ])('%s', (_, minute, rate) => {
    expect(rateAt(limit, minute)).toBe(rate);
  });

  it('may end at midnight, written either way', () => {
    const evening = { rate: null, times: [part(18, 24, 5)] };
    expect([17, 18, 23, 0].map((hour) => rateAt(evening, hour * 60))).toEqual([null, 5, 5, null]);
    const again = { rate: null, times: [{ ...part(18, 24, 5), toMinute: 0 }] };
    expect([17, 18, 23, 0].map((hour) => rateAt(again, hour * 60))).toEqual([null, 5, 5, null]);
  });

  it('knows its lowest and highest rates', () => {
    expect([lowestRate(limit), highestRate(limit)]).toEqual([20, null]);
    expect([lowestRate(constantRate(7)), highestRate(constantRate(7))]).toEqual([7, 7]);
    expect([lowestRate(constantRate(null)), highestRate(constantRate(null))]).toEqual([null, null]);
    const day = { rate: 1, times: [part(8, 18, 20), part(18, 8, 30)] };
    expect([lowestRate(day), highestRate(day)]).toEqual([20, 30]);
  });

  it('the stricter of two wins', () => {
    expect([stricter(3, 5), stricter(5, 3), stricter(null, 3), stricter(3, null), stricter(null, null)]).toEqual([
      3,
      3,
      3,
      3,
      null,
    ]);
  });
});

describe('parts of the day', () => {
  it.each([
    ['one after the other', [part(8, 12, 1), part(12, 18, 2)], null],
    ['one in another', [part(8, 18, 1), part(10, 11, 2)], { index: 1, with: 0 }],
    ['over midnight and the morning', [part(22, 6, 1), part(5, 8, 2)], { index: 1, with: 0 }],
    ['over midnight and the evening', [part(20, 23, 1), part(22, 6, 2)], { index: 1, with: 0 }],
    ['twice over midnight', [part(22, 6, 1), part(23, 1, 2)], { index: 1, with: 0 }],
    ['round the clock', [part(8, 20, 1), part(20, 8, 2)], null],
    ['the third and the second', [part(1, 2, 1), part(3, 5, 2), part(4, 6, 3)], { index: 2, with: 1 }],
  ])('%s', (_, times, overlap) => {
    expect(findOverlap(times)).toEqual(overlap);
  });

  it('overlap when a minute is in both', () => {
    const anyPart = fc
      .tuple(fc.nat({ max: 1439 }), fc.integer({ min: 1, max: 1440 }))
      .filter(([from, to]) => from !== to % 1440)
      .map(([fromMinute, toMinute]) => ({ fromMinute, toMinute, rate: 1 }));
    const minutes = (time: TimedRate) =>
      Array.from({ length: 1440 }, (_, minute) => rateAt({ rate: null, times: [time] }, minute) !== null);
    fc.assert(
      fc.property(anyPart, anyPart, (a, b) => {
        const [inA, inB] = [minutes(a), minutes(b)];
        expect(findOverlap([a, b]) !== null).toBe(inA.some((held, minute) => held && inB[minute]));
      }),
      { numRuns: 300 },
    );
  });
});
