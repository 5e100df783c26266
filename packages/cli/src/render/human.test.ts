import { describe, expect, it } from 'vitest';
import { bytes, bytesOrDash, duration, percentOf, rate, time } from './human.js';

describe('quantities', () => {
  it.each([
    [0n, '0 B'],
    [1023n, '1023 B'],
    [1_073_741_824n, '1 GiB'],
    [1_572_864_000n, '1.46 GiB'],
  ])('%s bytes', (count, text) => {
    expect(bytes(count)).toBe(text);
  });

  it('of bytes unknown, and a second', () => {
    expect(bytesOrDash(null)).toBe('-');
    expect(rate(104_857_600n)).toBe('100 MiB/s');
  });

  it.each([
    [3, '3ms'],
    [1_234, '1.2s'],
    [59_400, '59s'],
    [80_000, '1m 20s'],
    [90_061_000, '1d 1h'],
    [-5, '0ms'],
  ])('%i ms', (ms, text) => {
    expect(duration(ms)).toBe(text);
  });

  it('of time, in UTC', () => {
    expect(time(new Date(Date.UTC(2026, 10, 24, 22, 40, 43, 707)))).toBe('2026-11-24 22:40:43Z');
    expect(time(null)).toBe('-');
  });
});

it.each([
  [0n, 0n, 0],
  [5n, 0n, 0],
  [1n, 3n, 33],
  [3n, 3n, 99],
  [9n, 3n, 99],
  [2n ** 62n, 2n ** 63n, 50],
])('%s of %s is %i%%, and 100 only when committed', (done, total, percent) => {
  expect(percentOf(done, total)).toBe(percent);
});
