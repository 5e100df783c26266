import { FerryError, throwIfAborted } from '../errors/ferry-error.js';
import { Lease } from '../transfer/lease.js';
import { AdminSocket } from './admin-socket.js';
import { startChild, type Child } from './child.js';
import { GatheredOutput } from './gathered-output.js';
import { sourceChunkBytes, type ByteSource } from './port.js';
import { Pulse } from './pulse.js';
import { callError, succeeded, type Call } from './run-rbd.js';

export interface TransferOptions {
  readonly killGraceMs: number;
  readonly signal: AbortSignal | undefined;
  readonly onAlive: (() => void) | undefined;
}

const banner = Buffer.from('rbd diff v1\n');

/**
 * A call's standard output as a {@link ByteSource}. Each iteration starts its own child. There is no deadline: how long it
 * may give nothing depends on how much of the image is unchanged, so whoever reads it watches, and hears of its life.
 */
export const exportSource = (call: Call, options: TransferOptions): ByteSource => ({
  [Symbol.asyncIterator]: () => readChild(call, options),
});

async function* readChild(
  call: Call,
  { killGraceMs, signal, onAlive = () => {} }: TransferOptions,
): AsyncGenerator<Lease, void, undefined> {
  throwIfAborted(signal);
  const socket = new AdminSocket();
  const pulse = new Pulse(socket, onAlive);
  const child = startChild({ ...call, args: [...call.args, ...socket.args] }, { input: false, killGraceMs });
  const stop = (): void => {
    endReading(child);
  };
  signal?.addEventListener('abort', stop);
  try {
    const problem = yield* diffOf(child, pulse);
    const end = await child.ended;
    throwIfAborted(signal);
    if (!succeeded(end)) throw callError(call, end);
    if (problem !== null) throw new FerryError('CEPH_FAILED', `cannot ${call.what}: ${problem}`);
  } finally {
    signal?.removeEventListener('abort', stop);
    endReading(child);
    await child.ended;
    pulse.stop();
    socket.remove();
  }
}

/**
 * The diff that the child prints; answers what is wrong with its output, which is often only a symptom of the child's failure.
 * A child that cannot connect may print about it where the diff should be ("server name not found"): that is kept back, for
 * whoever reads it would complain about the data.
 */
async function* diffOf(child: Child, pulse: Pulse): AsyncGenerator<Lease, string | null, undefined> {
  let head = Buffer.alloc(0);
  let isDiff = false;
  try {
    for await (const chunk of new GatheredOutput(child.stdout, sourceChunkBytes)) {
      pulse.sawBytes();
      isDiff ||= chunk.bytes.subarray(0, banner.length).equals(banner);
      if (isDiff) yield chunk;
      else {
        if (head.length < banner.length) head = Buffer.concat([head, chunk.bytes]);
        chunk.release();
        isDiff = head.subarray(0, banner.length).equals(banner);
        if (isDiff) yield Lease.of(head);
      }
    }
  } catch {
    return 'its output could not be read';
  }
  return isDiff ? null : 'it printed no diff';
}

/** Killing `export-diff` leaves no lock behind; unread output would keep its end from being noticed. */
const endReading = (child: Child): void => {
  child.terminate();
  child.stdout.destroy();
};
