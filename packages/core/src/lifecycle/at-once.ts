/**
 * Does the work for every item, so many at the same time, in order. One that takes long keeps one place, and the others go on.
 *
 * @param work told what to do; what it throws ends everything, once what is under way has ended
 */
export const atOnce = async <T>(
  items: readonly T[],
  places: number,
  work: (item: T, index: number) => Promise<void>,
): Promise<void> => {
  let next = 0;
  const failures: unknown[] = [];
  const place = async (): Promise<void> => {
    while (next < items.length && failures.length === 0) {
      const index = next;
      next += 1;
      try {
        await work(items[index] as T, index);
      } catch (thrown) {
        failures.push(thrown);
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(places, items.length) }, place));
  if (failures.length > 0) throw failures[0];
};
