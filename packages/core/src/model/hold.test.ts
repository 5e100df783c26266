import { describe, expect, it } from 'vitest';
import { checkHold, describeHold, isInForce, maxHoldReasonBytes } from './hold.js';

const now = Date.parse('2026-11-30T12:00:00Z');
const at = (time: string) => Date.parse(time);

describe('a hold', () => {
  it.each([
    { untilMs: null, reason: '' },
    { untilMs: now + 1, reason: 'audit' },
    { untilMs: at('9998-12-31T23:59:59Z'), reason: 'ä'.repeat(maxHoldReasonBytes / 2) },
  ])('that can be put on: $untilMs', (hold) => {
    expect(checkHold(hold, now)).toEqual({ ok: true, value: hold });
  });

  it.each<[string, number | null, string, string]>([
    ['that ends now', now, '', 'a hold ends between now and the year 9999, not at 2026-11-30T12:00:00Z'],
    ['for ever, in figures', at('9999-01-01T00:00:00Z'), '', 'not at 9999-01-01T00:00:00Z'],
    ['at no time', Number.NaN, '', 'not at NaN'],
    ['too far for any calendar', Number.MAX_SAFE_INTEGER, '', `not at ${Number.MAX_SAFE_INTEGER}`],
    ['with a long story', null, 'ä'.repeat(501), 'the reason of a hold has 1002 bytes, more than 1000'],
  ])('%s cannot', (_, untilMs, reason, problem) => {
    expect(checkHold({ untilMs, reason }, now)).toEqual({ ok: false, problem: expect.stringContaining(problem) });
  });

  it('counts until it ends', () => {
    const hold = { reason: '', sinceMs: 0, client: 'c' };
    expect([null, now + 1, now, now - 1].map((untilMs) => isInForce({ ...hold, untilMs }, now))).toEqual([
      true,
      true,
      false,
      false,
    ]);
  });

  it('is told in words', () => {
    expect(describeHold({ untilMs: null, reason: '' })).toBe('held');
    expect(describeHold({ untilMs: now, reason: 'the "audit"' })).toBe(
      String.raw`held until 2026-11-30T12:00:00Z ("the \"audit\"")`,
    );
  });
});
