import { FerryError, throwIfAborted } from '../errors/ferry-error.js';
import { startChild, type Child } from './child.js';
import type { ByteSource } from './port.js';
import { callError, succeeded, type Call } from './run-rbd.js';

export interface TransferOptions {
  readonly killGraceMs: number;
  readonly signal: AbortSignal | undefined;
}

/**
 * A call's standard output as a {@link ByteSource}. Each iteration starts its own child. There is no deadline: how long it
 * may be silent depends on how much of the image is unchanged, so whoever reads it watches.
 */
export const exportSource = (call: Call, options: TransferOptions): ByteSource => ({
  [Symbol.asyncIterator]: () => readChild(call, options),
});

async function* readChild(
  call: Call,
  { killGraceMs, signal }: TransferOptions,
): AsyncGenerator<Uint8Array, void, undefined> {
  throwIfAborted(signal);
  const child = startChild(call, { input: false, killGraceMs });
  const stop = (): void => {
    endReading(child);
  };
  signal?.addEventListener('abort', stop);
  try {
    const broken = yield* chunksOf(child);
    const end = await child.ended;
    throwIfAborted(signal);
    if (!succeeded(end)) throw callError(call, end);
    if (broken !== null)
      throw new FerryError('CEPH_FAILED', `cannot ${call.what}: its output could not be read`, { cause: broken });
  } finally {
    signal?.removeEventListener('abort', stop);
    endReading(child);
    await child.ended;
  }
}

/** Everything the child prints; answers what broke the reading, which is often only the child's end. */
async function* chunksOf({ stdout }: Child): AsyncGenerator<Uint8Array, unknown, undefined> {
  const chunks: AsyncIterator<Uint8Array> = stdout[Symbol.asyncIterator]();
  for (;;) {
    let next: IteratorResult<Uint8Array>;
    try {
      next = await chunks.next();
    } catch (thrown) {
      return thrown;
    }
    if (next.done === true) return null;
    yield next.value;
  }
}

/** Killing `export-diff` leaves no lock behind; unread output would keep its end from being noticed. */
const endReading = (child: Child): void => {
  child.terminate();
  child.stdout.destroy();
};
