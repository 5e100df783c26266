import { describe, expect, it } from 'vitest';
import { LentSlots } from './lent-slots.js';
import { Slots } from './slots.js';

const job = (stillMs: number, stages: object | null = {}) => ({ stages, progress: { stillMs } });

describe('a transfer that does not move', () => {
  it('lends its slot, once, and only so many do at a time', () => {
    const slots = new Slots(() => 2);
    const lent = new LentSlots();
    const [moving, still, other] = [job(100), job(30_000), job(40_000)];
    const start = (each: ReturnType<typeof job>): void => {
      const slot = slots.take();
      expect(slot).toBeDefined();
      lent.started(each, slot ?? (() => {}));
    };
    start(moving);
    start(still);
    expect(slots.take()).toBeUndefined();
    expect([lent.lend(1), lent.lend(1)]).toEqual([true, false]);
    start(other);
    expect(lent.lend(1)).toBe(false);
    // The one that had lent it has ended: another one may.
    lent.ended(still);
    expect(lent.lend(1)).toBe(true);
  });

  it('is none before it has begun', () => {
    const lent = new LentSlots();
    lent.started(job(60_000, null), () => {});
    expect(lent.lend(1)).toBe(false);
  });
});

describe('large transfers', () => {
  it('leave one slot to others, where there is more than one', () => {
    const two = new Slots(() => 2);
    expect([two.take('large'), two.take('large'), two.take()]).toEqual([
      expect.any(Function),
      undefined,
      expect.any(Function),
    ]);
    const one = new Slots(() => 1);
    expect(one.take('large')).toBeDefined();
  });

  it('get it when nobody else wants it', () => {
    const slots = new Slots(() => 2);
    const first = slots.take('large');
    expect(slots.take('any')).toBeDefined();
    first?.();
    expect(slots.take('large')).toBeDefined();
  });
});
