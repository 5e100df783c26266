import { constantRate } from '@rbdferry/core/model/rate-limit.js';
import { describe, expect, it } from 'vitest';
import { pullLimits, TransferLimits, windowWithin } from './limits.js';

const KiB = 1024;
const MiB = 1024 * KiB;
const window = 16 * MiB;

const receivers = {
  free: {},
  slow: { limit: constantRate(10 * MiB) },
  day: { limit: { rate: null, times: [{ fromMinute: 480, toMinute: 1080, rate: 4 * MiB }] } },
};
const limits = new TransferLimits(receivers, 1);

describe('the limits of a job', () => {
  it('without any are none: nothing is told, cut or narrowed', () => {
    const none = limits.of('free', null);
    expect(none).toEqual({ buckets: [], lowest: null, highest: null });
    expect(pullLimits(none)).toEqual({ limitBytesPerSecond: 0, maxDataBytes: 0 });
    expect(windowWithin(none, window)).toBe(window);
  });

  it('of a receiver are shared by its jobs, and a job of its own has one more', () => {
    const [first, second] = [limits.of('slow', null), limits.of('slow', MiB)];
    expect(first.buckets).toHaveLength(1);
    expect(second.buckets).toHaveLength(2);
    expect(second.buckets[0]).toBe(first.buckets[0]);
    expect(limits.of('slow', MiB).buckets[1]).not.toBe(second.buckets[1]);
    expect(limits.of('day', null).buckets[0]).not.toBe(first.buckets[0]);
  });

  it.each([
    ['the stricter one wins: the job', 'slow', MiB, { lowest: MiB, highest: MiB }],
    ['the stricter one wins: the receiver', 'slow', 20 * MiB, { lowest: 10 * MiB, highest: 10 * MiB }],
    ['by time of day', 'day', null, { lowest: 4 * MiB, highest: null }],
    ['by time of day and of its own', 'day', 8 * MiB, { lowest: 4 * MiB, highest: 8 * MiB }],
  ])('%s', (_, receiver, own, expected) => {
    expect(limits.of(receiver, own)).toMatchObject(expected);
  });

  it('are told to a receiver that sends: its pace, and slices of a thirty-second part of a second', () => {
    expect(pullLimits(limits.of('slow', MiB))).toEqual({ limitBytesPerSecond: MiB, maxDataBytes: 32 * KiB });
    expect(pullLimits(limits.of('day', null))).toEqual({ limitBytesPerSecond: 0, maxDataBytes: 128 * KiB });
    expect(pullLimits(limits.of('free', 2000 * MiB))).toEqual({ limitBytesPerSecond: 2000 * MiB, maxDataBytes: MiB });
  });

  it('that are shared may come down to a share of them: all jobs together read no further ahead than one', () => {
    expect(new TransferLimits(receivers, 2).of('slow', null)).toMatchObject({ lowest: 5 * MiB, highest: 10 * MiB });
    expect(new TransferLimits(receivers, 64).of('slow', null)).toMatchObject({ lowest: 2.5 * MiB });
    expect(new TransferLimits(receivers, 64).of('slow', MiB)).toMatchObject({ lowest: MiB, highest: MiB });
    expect(new TransferLimits(receivers, 64).of('free', MiB)).toMatchObject({ lowest: MiB, highest: MiB });
  });

  it('narrow the window to a quarter of a second, within bounds', () => {
    expect(windowWithin(limits.of('slow', null), window)).toBe(2.5 * MiB);
    expect(windowWithin(limits.of('free', 2000 * MiB), window)).toBe(window);
    expect(windowWithin(limits.of('free', KiB), window)).toBe(64 * KiB);
  });
});
