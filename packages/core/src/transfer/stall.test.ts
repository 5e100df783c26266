import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { FerryError } from '../errors/ferry-error.js';
import { unlessAborted, watchStall, withinStallTime } from './stall.js';

const never = new Promise<never>(() => {});

beforeEach(() => {
  vi.useFakeTimers();
  signMs = -Infinity;
});

afterEach(() => {
  vi.useRealTimers();
});

/** What became of a promise so far. */
const watch = (step: Promise<unknown>) => {
  const seen: { value?: unknown; error?: unknown } = {};
  step.then(
    (value) => {
      seen.value = value;
    },
    (error: unknown) => {
      seen.error = error;
    },
  );
  return seen;
};

/** When it last showed life; never, unless a test says so. */
let signMs: number;
const life = {
  get silentMs() {
    return performance.now() - signMs;
  },
  hintAfter: (ms: number) => `silent for ${ms} ms`,
};
const watching = (ms: number) => ({ ms, what: 'the receiver took no data', life });

const stalled = {
  code: 'TRANSFER_STALLED',
  message: 'the receiver took no data for 10 s',
  hint: 'silent for 10000 ms',
};
const within = <T>(step: Promise<T>) => withinStallTime(step, watching(10_000));

describe('a step within the stall time', () => {
  it('gives its value or its failure, and leaves no timer', async () => {
    expect(await within(Promise.resolve(7))).toBe(7);
    await expect(within(Promise.reject(new Error('x')))).rejects.toThrow('x');
    expect(vi.getTimerCount()).toBe(0);
  });

  it('that takes too long fails, and not before', async () => {
    const seen = watch(within(never));
    await vi.advanceTimersByTimeAsync(9_999);
    expect(seen.error).toBeUndefined();
    await vi.advanceTimersByTimeAsync(1);
    expect(seen.error).toMatchObject(stalled);
  });

  it('may take as long as it likes while there is life, and fails so long after the last sign of it', async () => {
    const seen = watch(within(never));
    for (let second = 0; second < 60; second += 3) {
      await vi.advanceTimersByTimeAsync(3_000);
      signMs = performance.now();
    }
    await vi.advanceTimersByTimeAsync(9_999);
    expect(seen.error).toBeUndefined();
    await vi.advanceTimersByTimeAsync(2);
    expect(seen.error).toMatchObject(stalled);
  });

  it('has its whole time though there was no life before it', async () => {
    signMs = performance.now() - 60_000;
    const seen = watch(within(never));
    await vi.advanceTimersByTimeAsync(9_999);
    expect(seen.error).toBeUndefined();
  });

  it('that fails after it was given up is no unhandled rejection', async () => {
    let fail: (error: Error) => void = () => {};
    const late = new Promise<never>((_, reject) => {
      fail = reject;
    });
    const seen = watch(within(late));
    await vi.advanceTimersByTimeAsync(10_000);
    fail(new Error('late'));
    await vi.advanceTimersByTimeAsync(1);
    expect(seen.error).toMatchObject(stalled);
  });

  it('may be longer than a timer of Node can be, and does not fail at once', async () => {
    vi.useRealTimers();
    const seen = watch(withinStallTime(never, watching(30 * 86_400_000)));
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(seen.error).toBeUndefined();
  });
});

describe('a step unless aborted', () => {
  it('gives its value or its failure', async () => {
    const { signal } = new AbortController();
    expect(await unlessAborted(Promise.resolve(7), signal)).toBe(7);
    await expect(unlessAborted(Promise.reject(new Error('x')), signal)).rejects.toThrow('x');
  });

  it('that never ends fails with the reason of the abort, before or while it waits', async () => {
    const controller = new AbortController();
    const seen = watch(unlessAborted(never, controller.signal));
    await vi.advanceTimersByTimeAsync(1);
    expect(seen.error).toBeUndefined();
    controller.abort(new FerryError('CANCELLED', 'enough'));
    await vi.advanceTimersByTimeAsync(1);
    expect(seen.error).toMatchObject({ code: 'CANCELLED', message: 'enough' });
    await expect(unlessAborted(never, controller.signal)).rejects.toMatchObject({ code: 'CANCELLED' });
  });
});

describe('a watched source', () => {
  it('gives the same items', async () => {
    async function* three() {
      yield* [1, 2, 3];
    }
    const got: number[] = [];
    for await (const item of watchStall(three(), watching(1_000))) got.push(item);
    expect(got).toEqual([1, 2, 3]);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('is watched while it is waited for, not while its items are used', async () => {
    async function* two() {
      yield 1;
      yield 2;
    }
    const items = watchStall(two(), watching(1_000));
    await items.next();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(await items.next()).toEqual({ done: false, value: 2 });
  });

  it('that stalls fails, is told to end, and is not waited for', async () => {
    const told = vi.fn();
    const hanging: AsyncIterable<number> = {
      [Symbol.asyncIterator]: () => ({
        next: () => never,
        return: () => {
          told();
          return never;
        },
      }),
    };
    const seen = watch(watchStall(hanging, watching(10_000)).next());
    await vi.advanceTimersByTimeAsync(10_000);
    expect(seen.error).toMatchObject(stalled);
    expect(told).toHaveBeenCalledOnce();
  });

  it('that stalls between two items fails then', async () => {
    async function* one() {
      yield 1;
      await never;
    }
    const items = watchStall(one(), watching(10_000));
    expect(await items.next()).toEqual({ done: false, value: 1 });
    const seen = watch(items.next());
    await vi.advanceTimersByTimeAsync(10_000);
    expect(seen.error).toMatchObject(stalled);
  });

  it('passes its own failure on', async () => {
    async function* failing() {
      yield 1;
      throw new Error('rbd died');
    }
    const items = watchStall(failing(), watching(1_000));
    await items.next();
    await expect(items.next()).rejects.toThrow('rbd died');
  });

  it('passes its own failure on even if it cannot be ended after it', async () => {
    const broken: AsyncIterable<number> = {
      [Symbol.asyncIterator]: () => ({
        next: () => Promise.reject(new Error('rbd died')),
        return: () => {
          throw new Error('and cannot be ended');
        },
      }),
    };
    await expect(watchStall(broken, watching(1_000)).next()).rejects.toThrow('rbd died');
  });

  it('that is left early is ended, and its end is waited for', async () => {
    const steps: string[] = [];
    async function* endless() {
      try {
        for (;;) yield 1;
      } finally {
        await Promise.resolve();
        steps.push('ended');
      }
    }
    for await (const _ of watchStall(endless(), watching(1_000))) break;
    steps.push('left');
    expect(steps).toEqual(['ended', 'left']);
  });
});
