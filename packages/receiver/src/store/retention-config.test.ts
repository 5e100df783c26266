import { noKeepRules } from '@rbdferry/core/model/retention/policy.js';
import { describe, expect, it } from 'vitest';
import { storeSchema } from './kinds.js';
import { storeRulesOf } from './retention-config.js';

const parse = (more: object) => storeSchema.safeParse({ pool: 'rbd2', ...more });

describe('what a store says of retention', () => {
  it('is nothing, or rules, an age and a zone', () => {
    expect(storeRulesOf(storeSchema.parse({ pool: 'rbd2' }))).toBeNull();
    const keep = { last: 3, daily: 7, within: '2d' };
    expect(storeRulesOf(storeSchema.parse({ pool: 'rbd2', keep, min_age: '12h', time_zone: 'Europe/Berlin' }))).toEqual(
      {
        keep: { ...noKeepRules, last: 3, daily: 7, withinMs: 172_800_000 },
        minAgeMs: 43_200_000,
        timeZone: 'Europe/Berlin',
      },
    );
    expect(storeRulesOf(storeSchema.parse({ pool: 'rbd2', min_age: '1d' }))).toEqual({
      keep: noKeepRules,
      minAgeMs: 86_400_000,
      timeZone: null,
    });
  });

  it.each([
    ['nothing to keep', { keep: {} }, 'keep', 'would keep nothing'],
    ['nothing but zeros', { keep: { daily: 0, within: '0d' } }, 'keep', 'would keep nothing'],
    ['a rule that there is not', { keep: { days: 3 } }, 'keep', 'days'],
    ['half a day', { keep: { daily: 0.5 } }, 'keep.daily', 'whole number'],
    ['less than none', { keep: { daily: -1 } }, 'keep.daily', ''],
    ['no zone', { keep: { daily: 1 }, time_zone: 'Mars/Olympus' }, 'time_zone', '"Mars/Olympus" is not a time zone'],
    ['no age', { min_age: 'soon' }, 'min_age', '"soon" is not a duration'],
  ])('%s is refused', (_, more, path, message) => {
    const [issue] = parse(more).error?.issues ?? [];
    expect(issue?.path.join('.')).toBe(path);
    expect(issue?.message).toContain(message);
  });
});
