import { describe, expect, it } from 'vitest';
import { clockAheadMs, clockWarning } from './clock-difference.js';

describe('the difference of the clocks', () => {
  it('takes half of the way there and back off', () => {
    expect(clockAheadMs(5_000n, { askedMs: 1_000, answeredMs: 3_000 })).toBe(3_000);
    expect(clockAheadMs(2_000n, { askedMs: 1_000, answeredMs: 3_000 })).toBe(0);
  });

  it('is unknown when the receiver is too old to say', () => {
    expect(clockAheadMs(0n, { askedMs: 1_000, answeredMs: 3_000 })).toBeNull();
    expect(clockWarning({ name: 'dr', aheadMs: null })).toBeNull();
  });

  it('is warned about above a minute, either way', () => {
    expect(clockWarning({ name: 'dr', aheadMs: 60_000 })).toBeNull();
    expect(clockWarning({ name: 'dr', aheadMs: -60_000 })).toBeNull();
    expect(clockWarning({ name: 'dr', aheadMs: 61_000 })).toContain('receiver "dr" is 61 s ahead of this agent');
    expect(clockWarning({ name: 'dr', aheadMs: -34_560_000_000 })).toContain('34560000 s behind this agent');
  });
});
