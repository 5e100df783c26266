import { describe, expect, it } from 'vitest';
import { PeerLife, RbdLife } from './life.js';

let nowMs = 0;
const now = () => nowMs;

describe("this end's rbd", () => {
  it('is silent since its last sign of life, or since the beginning', () => {
    nowMs = 1_000;
    const life = new RbdLife('backup', now);
    nowMs = 4_000;
    expect(life.silentMs).toBe(3_000);
    life.sign();
    nowMs = 4_500;
    expect(life.silentMs).toBe(500);
    expect(life.hintAfter()).toContain('the backup cluster');
    expect(life.hintAfter()).not.toContain('network');
  });
});

describe('the other end', () => {
  it('is as silent as it says that its rbd is', () => {
    nowMs = 0;
    const life = new PeerLife('receiver', now);
    expect(life.silentMs).toBe(Infinity);
    nowMs = 10_000;
    life.heard(2_000);
    nowMs = 11_000;
    expect(life.silentMs).toBe(3_000);
    life.heard(4_000);
    expect(life.silentMs).toBe(3_000);
    life.heard(0);
    expect(life.silentMs).toBe(0);
  });

  it('shows no life by answers alone: two ends that wait for each other must not do so for ever', () => {
    nowMs = 0;
    const life = new PeerLife('receiver', now);
    life.heard(0);
    for (nowMs = 0; nowMs < 10_000; nowMs += 1_000) life.heard(nowMs);
    expect(life.silentMs).toBe(10_000);
    life.heard(undefined);
    expect(life.silentMs).toBe(10_000);
  });

  it('is told from the network when it stalls', () => {
    nowMs = 0;
    const life = new PeerLife('agent', now);
    expect(life.hintAfter(10_000)).toContain('network');
    nowMs = 9_500;
    // One that is too old to speak of its rbd answers all the same.
    life.heard(undefined);
    nowMs = 10_000;
    expect(life.hintAfter(10_000)).toContain('the agent answers');
    expect(life.hintAfter(10_000)).not.toContain('network');
    nowMs = 19_500;
    expect(life.hintAfter(10_000)).toContain('nothing is heard of the agent any more');
  });
});
