import { describe, expect, it } from 'vitest';
import { defaultWindowBytes, WindowBudget, widestWindowBytes } from './window.js';

const MiB = 1024 * 1024;

describe('a window that follows the round trip', () => {
  it.each([
    ['near', 0.2, defaultWindowBytes],
    ['not far', 13, defaultWindowBytes],
    ['far', 40, 50_000_000],
    ['very far', 300, widestWindowBytes],
  ])('is as wide as it must be for a peer that is %s', (_, roundTripMs, windowBytes) => {
    expect(new WindowBudget().grant(roundTripMs).windowBytes).toBe(windowBytes);
  });

  it('is narrower when others have taken of the budget, and never narrower than the default', () => {
    const budget = new WindowBudget(64 * MiB);
    const grants = [100, 100, 100].map((roundTripMs) => budget.grant(roundTripMs));
    expect(grants.map(({ windowBytes }) => windowBytes)).toEqual([64 * MiB, 32 * MiB, 16 * MiB]);
  });

  it('is there for the next one once it is given back, once', () => {
    const budget = new WindowBudget(64 * MiB);
    const first = budget.grant(100);
    const second = budget.grant(100);
    first.giveBack();
    first.giveBack();
    expect(budget.grant(100).windowBytes).toBe(64 * MiB);
    expect(budget.grant(100).windowBytes).toBe(16 * MiB);
    second.giveBack();
    expect(budget.grant(100).windowBytes).toBe(32 * MiB);
  });
});
