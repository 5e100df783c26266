import { setTimeout as sleep } from 'node:timers/promises';
import { FerryError, abortReason, throwIfAborted } from '../errors/ferry-error.js';
import { AdminSocket } from './admin-socket.js';
import { startChild, type Child } from './child.js';
import type { TransferOptions } from './export-source.js';
import { clientAddress, endFenced, type Fence } from './fenced-end.js';
import type { ByteSink } from './port.js';
import { Pulse } from './pulse.js';
import { callError, succeeded, type Call } from './run-rbd.js';

export interface SinkOptions extends TransferOptions {
  /** How long the child may take to end by itself after its input was closed, in milliseconds. */
  readonly closeGraceMs: number;
  /** What becomes of one that does not, once it was killed. */
  readonly fence: Fence;
}

/**
 * A call's standard input as a {@link ByteSink}. There is no deadline on a write: whoever writes watches, and calls `abort`,
 * which is allowed while a `write` or `finish` waits and lets it fail.
 */
export class ImportSink implements ByteSink {
  readonly #call: Call;
  readonly #options: SinkOptions;
  readonly #socket = new AdminSocket();
  readonly #pulse: Pulse;
  readonly #child: Child;
  #aborting: Promise<void> | null = null;

  /** @throws the signal's reason when it is aborted already */
  constructor(call: Call, options: SinkOptions) {
    throwIfAborted(options.signal);
    this.#call = call;
    this.#options = options;
    this.#pulse = new Pulse(this.#socket, options.onAlive ?? (() => {}));
    const args = [...call.args, ...this.#socket.args];
    this.#child = startChild({ ...call, args }, { input: true, killGraceMs: options.killGraceMs });
    // Nobody reads what it prints on standard output, which is nothing.
    this.#child.stdout.resume();
    options.signal?.addEventListener('abort', this.#onSignal);
    void this.#child.ended.then(() => {
      this.#pulse.stop();
      this.#socket.remove();
      options.signal?.removeEventListener('abort', this.#onSignal);
    });
  }

  async write(chunk: Uint8Array): Promise<void> {
    throwIfAborted(this.#options.signal);
    const { stdin } = this.#child;
    if (stdin === null) throw await this.#failure();
    const problem = await new Promise((resolve) => stdin.write(chunk, resolve));
    // A broken pipe comes with the child's end, which tells why. A write cut short by our own `destroy` reports no problem.
    if (problem != null || stdin.destroyed) throw await this.#failure();
    this.#pulse.sawBytes();
  }

  async finish(): Promise<void> {
    throwIfAborted(this.#options.signal);
    this.#child.stdin?.end();
    const end = await this.#child.ended;
    // A child that committed has committed, whatever came in between.
    if (!succeeded(end)) throw await this.#failure();
  }

  abort(): Promise<void> {
    this.#aborting ??= this.#stop();
    return this.#aborting;
  }

  readonly #onSignal = (): void => {
    void this.abort();
  };

  async #stop(): Promise<void> {
    // Not `end`, which would first wait for the chunks that the child does not take.
    this.#child.stdin?.destroy();
    const { closeGraceMs, fence } = this.#options;
    const over = new AbortController();
    const { signal } = over;
    void this.#child.ended.then(() => {
      over.abort();
    });
    if (await slept(closeGraceMs / 2, signal)) return;
    const address = clientAddress(this.#socket);
    if (await slept(closeGraceMs / 2, signal)) return;
    await endFenced(this.#child, address, fence);
  }

  async #failure(): Promise<FerryError> {
    const end = await this.#child.ended;
    const { signal } = this.#options;
    if (signal?.aborted === true) return abortReason(signal);
    if (this.#aborting !== null) return new FerryError('CANCELLED', `cannot ${this.#call.what}: it was broken off`);
    if (!succeeded(end)) return callError(this.#call, end);
    return new FerryError('CEPH_FAILED', `cannot ${this.#call.what}: it ended before it got everything`);
  }
}

/** Waits so long, or until the signal is aborted; answers whether it is. */
const slept = async (ms: number, signal: AbortSignal): Promise<boolean> => {
  await sleep(ms, null, { signal }).catch(() => {});
  return signal.aborted;
};
