import type { FailedAt, NativeFailure } from './protocol.js';

const enoent = 2;

/** A function of librbd or librados answered an errno. */
export class NativeError extends Error {
  readonly failure: NativeFailure;

  constructor(failure: NativeFailure) {
    super(`${failure.call}: errno ${failure.errno}`);
    this.failure = failure;
  }
}

export const isMissing = (thrown: unknown): boolean => thrown instanceof NativeError && thrown.failure.errno === enoent;

const toError = (thrown: unknown): Error =>
  thrown instanceof Error ? thrown : new Error('koffi refused a call', { cause: thrown });

/** What a function can be asked, and its answer to come. */
interface Callable<Args extends unknown[], Result> {
  readonly info: { readonly name: string };
  readonly async: (...args: [...Args, (error: unknown, result: Result) => void]) => void;
}

/** Arguments of calls that run: C has pointers into their buffers, which must not be collected as long as it does. */
const underWay = new Set<readonly unknown[]>();

/**
 * Calls a function on a thread of its own: for whatever may go over the network, and so may hang.
 * @throws NativeError for a negative answer
 */
export const calling = async <Args extends unknown[]>(
  at: FailedAt,
  native: Callable<Args, number>,
  ...args: Args
): Promise<number> => {
  underWay.add(args);
  try {
    const result = await new Promise<number>((resolve, reject) => {
      native.async(...args, (error, answer) => {
        // Only koffi itself fails so: an argument of another type.
        if (error === null || error === undefined) resolve(answer);
        else reject(toError(error));
      });
    });
    return checked(at, native, result);
  } finally {
    underWay.delete(args);
  }
};

/** The same for what an open image knows in memory, at once. @throws NativeError for a negative answer */
export const knowing = <Args extends unknown[]>(
  at: FailedAt,
  native: Callable<Args, number> & ((...args: Args) => number),
  ...args: Args
): number => checked(at, native, native(...args));

const checked = (at: FailedAt, { info }: { readonly info: { readonly name: string } }, result: number): number => {
  if (result < 0) throw new NativeError({ errno: -result, at, call: info.name });
  return result;
};
