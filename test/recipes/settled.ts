import { setImmediate } from 'node:timers/promises';

/** Waits until nothing is called any more: what is done in the background has no other end that could be seen. */
export const settled = async (calls: readonly unknown[]): Promise<void> => {
  for (let before = -1; before !== calls.length;) {
    before = calls.length;
    for (let turns = 0; turns < 10; turns += 1) await setImmediate();
  }
};
