import type { Readable } from 'node:stream';
import { allocateRoomy } from '../transfer/roomy-buffer.js';

/** How long a buffer that is not full waits for more before a waiting reader gets it. Milliseconds. */
const lingerMs = 100;

/**
 * A child's output in large buffers. It comes in chunks of about 20 KB, and a step of an async iterator for each of them costs
 * several times what one copy into a buffer of a MiB does. Holds at most two buffers: then the child waits.
 *
 * Iterate once. Ends when the output ends; throws what broke it.
 */
export class GatheredOutput {
  readonly #output: Readable;
  readonly #sizeBytes: number;
  #buffer: Buffer;
  #filled = 0;
  #full: Buffer[] = [];
  #end: 'open' | 'ended' | Error = 'open';
  #wake: (() => void) | null = null;

  constructor(output: Readable, sizeBytes: number) {
    this.#output = output;
    this.#sizeBytes = sizeBytes;
    this.#buffer = allocateRoomy(sizeBytes);
    output.on('data', (chunk: Buffer) => {
      this.#add(chunk);
    });
    output.once('end', () => {
      this.#finish('ended');
    });
    output.once('error', (error: Error) => {
      this.#finish(error);
    });
    output.once('close', () => {
      this.#finish(new Error('the output was closed before its end'));
    });
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Buffer, void, undefined> {
    for (;;) {
      const next = this.#full.shift() ?? (await this.#wait());
      if (next === undefined) return;
      if (this.#full.length === 0 && this.#output.isPaused()) this.#output.resume();
      yield next;
    }
  }

  #add(chunk: Buffer): void {
    let rest = chunk;
    while (rest.length > 0) {
      const taken = Math.min(rest.length, this.#sizeBytes - this.#filled);
      rest.copy(this.#buffer, this.#filled, 0, taken);
      this.#filled += taken;
      rest = rest.subarray(taken);
      if (this.#filled === this.#sizeBytes) this.#hand();
    }
  }

  /** Puts what was gathered where the reader finds it. */
  #hand(): void {
    this.#full.push(this.#buffer.subarray(0, this.#filled));
    this.#buffer = allocateRoomy(this.#sizeBytes);
    this.#filled = 0;
    this.#output.pause();
    this.#wake?.();
  }

  #finish(end: 'ended' | Error): void {
    if (this.#end === 'open') this.#end = end;
    this.#wake?.();
  }

  /** The next buffer, a full one or what there is after a moment; undefined at the end. */
  async #wait(): Promise<Buffer | undefined> {
    while (this.#end === 'open') {
      const woken = await this.#nextEvent();
      if (this.#full.length > 0) return this.#full.shift();
      if (!woken && this.#filled > 0) break;
    }
    if (this.#filled > 0) this.#hand();
    const last = this.#full.shift();
    if (last === undefined && this.#end instanceof Error) throw this.#end;
    return last;
  }

  /** Waits for a full buffer, the end, or (then false) the end of the linger time. */
  #nextEvent(): Promise<boolean> {
    return new Promise((resolve) => {
      const done = (woken: boolean) => {
        clearTimeout(timer);
        this.#wake = null;
        resolve(woken);
      };
      const timer = setTimeout(done, lingerMs, false);
      this.#wake = () => {
        done(true);
      };
    });
  }
}
