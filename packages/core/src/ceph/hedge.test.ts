import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it, vi } from 'vitest';
import { hedge } from './hedge.js';

const after =
  <T>(ms: number, answer: T | Error) =>
  async (signal: AbortSignal): Promise<T> => {
    await sleep(ms, undefined, { signal });
    if (answer instanceof Error) throw answer;
    return answer;
  };
const soon = { afterMs: 20, signal: undefined };

it('does not ask the second way when the first answers in time', async () => {
  const second = vi.fn(after(0, 'second'));
  expect(await hedge(after(0, 'first'), second, soon)).toBe('first');
  await expect(hedge(after(0, new Error('first')), second, soon)).rejects.toThrow('first');
  await sleep(40);
  expect(second).not.toHaveBeenCalled();
});

it('takes the answer of the second way when the first is silent, and ends the first', async () => {
  const begin = performance.now();
  expect(await hedge(after(10_000, 'first'), after(0, 'second'), soon)).toBe('second');
  expect(performance.now() - begin).toBeLessThan(1_000);
});

it('waits for the first way when the second fails', async () => {
  expect(await hedge(after(60, 'first'), after(0, new Error('second')), soon)).toBe('first');
  await expect(hedge(after(60, new Error('first')), after(0, new Error('second')), soon)).rejects.toThrow('first');
});

it('ends both ways with the signal', async () => {
  const signal = AbortSignal.timeout(40);
  await expect(hedge(after(10_000, 1), after(10_000, 2), { afterMs: 10, signal })).rejects.toThrow();
});
