import { describe, expect, it } from 'vitest';
import { stagesOf, unexplainedMs, type Waits } from './stages.js';

const waits = (upstreamMs: number, downstreamMs: number, limitMs = 0): Waits => ({
  bytes: 1_000_000,
  upstreamMs,
  downstreamMs,
  limitMs,
});

describe('the stages of a transfer of ten seconds', () => {
  it.each([
    ['source', 'a slow source', waits(9_500, 100), waits(9_600, 200), { source: 9_500, wire: 0, target: 200 }],
    ['wire', 'a slow wire', waits(100, 9_700), waits(9_500, 300), { source: 100, wire: 9_400, target: 300 }],
    ['target', 'a slow target', waits(200, 9_600), waits(100, 9_800), { source: 200, wire: 0, target: 9_800 }],
    [
      'target',
      'first a slow source, then a slower target',
      waits(4_000, 5_500),
      waits(4_100, 5_700),
      { source: 4_000, wire: 0, target: 5_700 },
    ],
  ] as const)('%s: %s', (bottleneck, _, sender, taker, expected) => {
    const stages = stagesOf(sender, taker);
    expect(stages.bottleneck).toBe(bottleneck);
    expect({
      source: stages.source?.waitedMs,
      wire: stages.wire?.waitedMs,
      target: stages.target?.waitedMs,
    }).toEqual(expected);
    expect(unexplainedMs(sender, taker)).toBe(0);
  });

  it('has the rate of a stage as bytes by the second waited for it, and none when it was not waited for', () => {
    const { source, wire, target } = stagesOf(waits(500, 0), waits(500, 4_000));
    expect(source?.bytesPerSecond).toBe(2_000_000);
    expect(target?.bytesPerSecond).toBe(250_000);
    expect(wire).toEqual({ waitedMs: 0, bytesPerSecond: null });
  });

  it('are not told apart by one end alone, unless its own side is the slow one', () => {
    expect(stagesOf(waits(9_000, 1_000), null)).toMatchObject({ wire: null, target: null, bottleneck: 'source' });
    expect(stagesOf(waits(1_000, 9_000), null).bottleneck).toBeNull();
    expect(unexplainedMs(waits(1_000, 9_000), null)).toBe(9_000);
    expect(stagesOf(null, waits(1_000, 9_000))).toMatchObject({ source: null, wire: null, bottleneck: 'target' });
    expect(stagesOf(null, waits(9_000, 1_000)).bottleneck).toBeNull();
    expect(unexplainedMs(null, waits(9_000, 1_000))).toBe(9_000);
  });

  it.each([
    ['a backup, which the sender paces', waits(100, 300, 9_500), waits(9_600, 200)],
    ['a restore, which both pace', waits(100, 9_000, 9_200), waits(100, 200, 9_500)],
  ])('limit: %s', (_, sender, taker) => {
    const { limit, wire, bottleneck } = stagesOf(sender, taker);
    expect(bottleneck).toBe('limit');
    expect(limit?.waitedMs).toBeGreaterThan(9_000);
    expect(wire?.waitedMs).toBeLessThan(200);
    expect(stagesOf(sender, null).bottleneck).toBe('limit');
  });

  it('have no bottleneck while nothing was waited for', () => {
    expect(stagesOf(waits(0, 0), waits(0, 0)).bottleneck).toBeNull();
    expect(stagesOf(null, null)).toEqual({ source: null, wire: null, target: null, limit: null, bottleneck: null });
  });
});
