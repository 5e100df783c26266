import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import * as wire from '../gen/rbdferry/v1/model.js';
import { noKeepRules, type StoreRules } from '../model/retention/policy.js';
import { givesRules, rulesFromWire, rulesToWire } from './retention.js';

const count = fc.nat({ max: 1_000_000 });
const anyRules: fc.Arbitrary<StoreRules> = fc.record({
  keep: fc.record({
    last: count,
    full: fc.constant(0),
    hourly: count,
    daily: count,
    weekly: count,
    monthly: count,
    yearly: count,
    withinMs: fc.maxSafeNat(),
  }),
  minAgeMs: fc.maxSafeNat(),
  timeZone: fc.option(fc.string({ minLength: 1 })),
});

const none: wire.RetentionRules = { timeZone: '' };

describe('keep rules on the wire', () => {
  it('come back as they went', () => {
    fc.assert(
      fc.property(anyRules, (rules) => {
        const message = wire.RetentionRules.encode(rulesToWire(rules)).finish();
        expect(rulesFromWire(wire.RetentionRules.decode(message))).toEqual(rules);
      }),
    );
  });

  it('are none, or some, be they of 0', () => {
    expect(rulesFromWire(none)).toEqual({ keep: noKeepRules, minAgeMs: 0, timeZone: null });
    expect(givesRules(none)).toBe(false);
    expect(givesRules({ ...none, minAgeMs: 5n, timeZone: 'UTC' })).toBe(false);
    expect(givesRules({ ...none, daily: 0 })).toBe(true);
    expect(givesRules({ ...none, withinMs: 0n })).toBe(true);
  });

  it.each([
    ['negative', { withinMs: -1n }],
    ['negative', { minAgeMs: -1n }],
    ['too long', { minAgeMs: 2n ** 60n }],
  ])('with an age that is %s are refused', (what, over) => {
    expect(() => rulesFromWire({ ...none, ...over })).toThrow(what);
  });
});
