import { describe, expect, it } from 'vitest';
import { StageMeter } from './stage-meter.js';
import { TransferStages } from './transfer-stages.js';

/** A clock that stands still but for what a step takes. */
const clockWork = () => {
  const clock = { ms: 1000 };
  const takes = async <T>(ms: number, value: T): Promise<T> => {
    await Promise.resolve();
    clock.ms += ms;
    return value;
  };
  return { now: () => clock.ms, takes, pass: (ms: number) => (clock.ms += ms) };
};

describe('a stage meter', () => {
  it('counts the waits for items, and not what is done with them', async () => {
    const { now, takes, pass } = clockWork();
    const meter = new StageMeter(now);
    const items = async function* () {
      for (const item of ['a', 'b', 'c']) yield await takes(10, item);
      await takes(5, null);
    };
    const seen: string[] = [];
    for await (const item of meter.arriving(items())) {
      seen.push(item);
      pass(1000);
      await meter.leaving(takes(3, null));
      meter.passed(7);
    }
    expect(seen).toEqual(['a', 'b', 'c']);
    expect(meter.waits).toMatchObject({ bytes: 21, upstreamMs: 35, downstreamMs: 9 });
  });

  it('counts how long a consumer keeps an item', async () => {
    const { now, takes, pass } = clockWork();
    const meter = new StageMeter(now);
    const items = async function* () {
      for (const item of ['a', 'b']) yield await takes(10, item);
    };
    for await (const _ of meter.departing(items())) pass(4);
    expect(meter.waits).toMatchObject({ upstreamMs: 0, downstreamMs: 8 });
  });

  it('counts a wait that is under way, and one that failed', async () => {
    const { now, pass } = clockWork();
    const meter = new StageMeter(now);
    let fail: (error: Error) => void = () => {};
    const step = meter.leaving(
      new Promise((_, reject) => {
        fail = reject;
      }),
    );
    pass(20);
    expect(meter.waits.downstreamMs).toBe(20);
    fail(new Error('gone'));
    await expect(step).rejects.toThrow('gone');
    pass(20);
    expect(meter.waits.downstreamMs).toBe(20);
  });

  it('counts waits that overlap once', async () => {
    const { now, pass } = clockWork();
    const meter = new StageMeter(now);
    const ends: (() => void)[] = [];
    const steps = [1, 2].map(() => meter.leaving(new Promise<void>((resolve) => ends.push(resolve))));
    pass(10);
    for (const end of ends) end();
    await Promise.all(steps);
    expect(meter.waits.downstreamMs).toBe(10);
  });

  it('lets go of a source that fails or is left early, and stops counting', async () => {
    const { now, pass } = clockWork();
    const meter = new StageMeter(now);
    let closed = 0;
    const items = async function* () {
      try {
        yield 1;
        throw new Error('broken');
      } finally {
        closed += 1;
      }
    };
    for await (const _ of meter.departing(meter.arriving(items()))) break;
    expect(closed).toBe(1);
    await expect(
      (async () => {
        for await (const _ of meter.arriving(items()));
      })(),
    ).rejects.toThrow('broken');
    expect(closed).toBe(2);
    pass(50);
    expect(meter.waits).toMatchObject({ upstreamMs: 0, downstreamMs: 0 });
  });
});

describe('what a transfer knows of its stages', () => {
  it('is only its own side until the other end was heard', () => {
    const stages = new TransferStages('sender', () => 0);
    stages.heard(null);
    expect(stages.view).toMatchObject({ wire: null, target: null });
  });

  it('does not believe that the other end waited for longer than there was time', () => {
    const { now, pass } = clockWork();
    const stages = new TransferStages('sender', now);
    pass(100);
    stages.heard({ bytes: 1, upstreamMs: 1e15, downstreamMs: 1e15, limitMs: 1e15 });
    expect(stages.view.target?.waitedMs).toBe(100);
  });
});
