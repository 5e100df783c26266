/** A source that was started before anybody reads it. */
export interface Started<T> extends AsyncIterable<T> {
  /** Waits until a source that nobody came to read is gone. Whoever calls it has aborted what the source hangs on. Never throws. */
  close(): Promise<void>;
}

/**
 * Asks a source for its first item at once, so that what it starts comes up while its reader is still busy with something else.
 * What goes wrong meanwhile is told to the reader. Iterate once.
 */
export const startEarly = <T>(source: AsyncIterable<T>): Started<T> => {
  const iterator = source[Symbol.asyncIterator]();
  let early: Promise<IteratorResult<T>> | null = iterator.next();
  early.catch(() => {});
  return {
    [Symbol.asyncIterator]: () => ({
      next: async () => {
        const first = early;
        early = null;
        return first ?? iterator.next();
      },
      return: async () => {
        early = null;
        await iterator.return?.();
        return { done: true, value: undefined };
      },
    }),
    close: async () => {
      if (early === null) return;
      try {
        await early;
        await iterator.return?.();
      } catch {
        // Nobody wanted to know.
      }
    },
  };
};
