import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { startEarly } from './start-early.js';

/** Counts to three, and writes down what happens to it. */
const counting = (log: string[], firstMs = 0) =>
  (async function* () {
    log.push('started');
    try {
      await sleep(firstMs);
      yield* [1, 2, 3];
    } finally {
      log.push('ended');
    }
  })();

const failing = async function* (): AsyncGenerator<number, void, undefined> {
  await sleep(1);
  yield* [];
  throw new Error('broken');
};

const all = async (items: AsyncIterable<number>): Promise<number[]> => {
  const found: number[] = [];
  for await (const item of items) found.push(item);
  return found;
};

describe('a source that is started early', () => {
  it('runs before it is read, and loses nothing', async () => {
    const log: string[] = [];
    const early = startEarly(counting(log));
    expect(log).toEqual(['started']);
    await sleep(5);
    expect(await all(early)).toEqual([1, 2, 3]);
    await early.close();
    expect(log).toEqual(['started', 'ended']);
  });

  it('tells its reader what went wrong before there was one', async () => {
    const early = startEarly(failing());
    await sleep(10);
    await expect(all(early)).rejects.toThrow('broken');
  });

  it('is ended when its reader leaves', async () => {
    const log: string[] = [];
    for await (const item of startEarly(counting(log))) if (item === 1) break;
    expect(log).toEqual(['started', 'ended']);
  });

  it('that nobody reads is gone once it is closed, whether it failed or not', async () => {
    const log: string[] = [];
    await startEarly(counting(log, 20)).close();
    expect(log).toEqual(['started', 'ended']);
    await startEarly(failing()).close();
  });
});
