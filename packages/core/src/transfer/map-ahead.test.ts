import { setTimeout as sleep } from 'node:timers/promises';
import * as fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { mapAhead, mapSomeAhead } from './map-ahead.js';

async function* numbers(count: number): AsyncGenerator<number, void, undefined> {
  for (let number = 0; number < count; number += 1) yield number;
}

const collect = async <T>(items: AsyncIterable<T>): Promise<T[]> => {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
};

const never = new Promise<never>(() => {});

/** A few turns of the event loop. */
const moment = (): Promise<void> => sleep(5);

describe('mapping ahead', () => {
  it('keeps the order, however long each takes', async () => {
    const delays = fc.array(fc.nat({ max: 3 }), { maxLength: 20 });
    await fc.assert(
      fc.asyncProperty(delays, fc.integer({ min: 1, max: 4 }), async (waits, ahead) => {
        const map = async (index: number) => {
          await sleep(waits[index] ?? 0);
          return index * 10;
        };
        expect(await collect(mapAhead(numbers(waits.length), { map, ahead }))).toEqual(
          waits.map((_, index) => index * 10),
        );
      }),
      { numRuns: 30 },
    );
  });

  it('works on the next ones while one is used, and no further ahead', async () => {
    const map = vi.fn((item: number) => Promise.resolve(item));
    const items = mapAhead(numbers(100), { map, ahead: 2 });
    expect(map).not.toHaveBeenCalled();
    await items.next();
    await moment();
    expect(map).toHaveBeenCalledTimes(3);
    await items.next();
    await moment();
    expect(map).toHaveBeenCalledTimes(4);
    await items.return(undefined);
  });

  it('gives a result that is ready though the next item never comes', async () => {
    async function* one(): AsyncGenerator<number, void, undefined> {
      yield 1;
      await never;
    }
    const items = mapAhead(one(), { map: (item) => Promise.resolve(item), ahead: 2 });
    expect(await items.next()).toEqual({ done: false, value: 1 });
    // It hangs in its next item: leaving does not wait for it.
    await items.return(undefined);
  });

  it('fails with the items, after the results before', async () => {
    async function* failing(): AsyncGenerator<number, void, undefined> {
      yield 1;
      yield 2;
      throw new Error('rbd died');
    }
    const items = mapAhead(failing(), { map: (item) => Promise.resolve(item), ahead: 3 });
    expect((await items.next()).value).toBe(1);
    await moment();
    expect((await items.next()).value).toBe(2);
    await expect(items.next()).rejects.toThrow('rbd died');
    expect(await items.next()).toEqual({ done: true, value: undefined });
  });

  it('fails with a piece of work, at its place, and ends the items', async () => {
    const steps: string[] = [];
    async function* source(): AsyncGenerator<number, void, undefined> {
      try {
        yield* numbers(10);
      } finally {
        steps.push('ended');
      }
    }
    const map = (item: number) => (item === 2 ? Promise.reject(new Error('no frame')) : Promise.resolve(item));
    const items = mapAhead(source(), { map, ahead: 3 });
    expect([(await items.next()).value, (await items.next()).value]).toEqual([0, 1]);
    await expect(items.next()).rejects.toThrow('no frame');
    await moment();
    expect(steps).toEqual(['ended']);
  });

  it('that is left early ends the items, waits for their end, and starts no more work', async () => {
    const steps: string[] = [];
    const map = vi.fn((item: number) => Promise.resolve(item));
    async function* source(): AsyncGenerator<number, void, undefined> {
      try {
        yield* numbers(1000);
      } finally {
        await moment();
        steps.push('ended');
      }
    }
    for await (const item of mapAhead(source(), { map, ahead: 1 })) {
      await moment();
      if (item === 2) break;
    }
    steps.push('left');
    expect(steps).toEqual(['ended', 'left']);
    expect(map).toHaveBeenCalledTimes(4);
  });

  it('tells how long work was waited for, and not items', async () => {
    async function* slow(): AsyncGenerator<number, void, undefined> {
      for (let number = 0; number < 3; number += 1) {
        await sleep(20);
        yield number;
      }
    }
    let waited = 0;
    const onWait = (ms: number) => {
      waited += ms;
    };
    await collect(mapAhead(slow(), { map: (item) => Promise.resolve(item), ahead: 2, onWait }));
    const itemsOnly = waited;
    await collect(mapAhead(numbers(3), { map: (item) => sleep(40, item), ahead: 1, onWait }));
    expect(waited - itemsOnly).toBeGreaterThan(itemsOnly);
  });
});

describe('mapping some ahead', () => {
  const tens = (item: number) => (item % 10 === 3 ? Promise.resolve(item * 100) : undefined);

  it('passes the others on, in order', async () => {
    const expected = Array.from({ length: 25 }, (_, item) => (item % 10 === 3 ? item * 100 : item));
    expect(await collect(mapSomeAhead(numbers(25), tens, 2))).toEqual(expected);
    expect(await collect(mapSomeAhead(numbers(3), tens, 2))).toEqual([0, 1, 2]);
    expect(await collect(mapSomeAhead(numbers(0), tens, 2))).toEqual([]);
  });

  it('reads nothing ahead while there is nothing to map', async () => {
    const read: number[] = [];
    async function* source(): AsyncGenerator<number, void, undefined> {
      for (let item = 0; item < 20; item += 1) {
        read.push(item);
        yield item;
      }
    }
    const items = mapSomeAhead(source(), tens, 2);
    await items.next();
    await moment();
    expect(read).toEqual([0]);
    for (let count = 0; count < 3; count += 1) await items.next();
    await items.next();
    await moment();
    expect(read.length).toBe(7);
    await items.return();
  });

  it.each([1, 5])('that is left at item %i ends the items', async (last) => {
    const ended = vi.fn();
    async function* source(): AsyncGenerator<number, void, undefined> {
      try {
        yield* numbers(100);
      } finally {
        ended();
      }
    }
    for await (const item of mapSomeAhead(source(), tens, 2)) if (item === last) break;
    await moment();
    expect(ended).toHaveBeenCalledOnce();
  });
});
