import { Socket, type SocketConstructorOpts } from 'node:net';
import type { Readable } from 'node:stream';
import { Lease } from '../transfer/lease.js';

/** How long bytes wait for more before a waiting reader gets them. Milliseconds. */
const lingerMs = 100;
/** A read into less room than this is not worth its system call. */
const smallestReadBytes = 64 * 1024;

/**
 * A child's output in large buffers, read straight into them. Node's own way gives chunks of at most 64 KB, each in an allocation
 * of its own: the copies, and above all the garbage collections that the allocations force, cost as much as everything
 * else that a transfer does.
 *
 * Holds at most two buffers: then the child waits. Iterate once. Ends when the output ends; throws what broke it.
 */
export class GatheredOutput {
  readonly #sizeBytes: number;
  readonly #flow: { pause(): unknown; resume(): unknown };
  #filling: Lease;
  /** Of the buffer that is being filled, what the reader has had already and what is filled. */
  #handed = 0;
  #filled = 0;
  #ready: Lease[] = [];
  #paused = false;
  #end: 'open' | 'ended' | Error = 'open';
  #wake: (() => void) | null = null;

  constructor(output: Readable, sizeBytes: number) {
    this.#sizeBytes = sizeBytes;
    this.#filling = Lease.take(sizeBytes);
    output.once('error', (error: Error) => {
      this.#finish(error);
    });
    output.once('close', () => {
      this.#finish(new Error('the output was closed before its end'));
    });
    this.#flow = this.#readDirectly(output) ?? this.#readChunks(output);
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Lease, void, undefined> {
    for (;;) {
      const next = this.#ready.shift() ?? (await this.#wait());
      if (next === undefined) {
        // Nothing is read into it any more.
        this.#filling.release();
        return;
      }
      if (this.#paused && this.#ready.length === 0) {
        this.#paused = false;
        this.#flow.resume();
      }
      yield next;
    }
  }

  /** Undefined when this stream has no handle to read from, as in a Node to come. */
  #readDirectly(output: Readable): Socket | undefined {
    const handle: unknown = Reflect.get(output, '_handle');
    if (typeof handle !== 'object' || handle === null || !('useUserBuffer' in handle)) return undefined;
    // Known to Node, not to its types: the new socket takes the place of the old one on the same pipe.
    const options = {
      handle,
      onread: {
        buffer: () => this.#filling.bytes.subarray(this.#filled),
        callback: (bytes: number) => {
          this.#filled += bytes;
          if (this.#sizeBytes - this.#filled < smallestReadBytes) this.#handBuffer();
          return !this.#paused;
        },
      },
    };
    const socket = new Socket(options as SocketConstructorOpts);
    socket.once('end', () => {
      this.#finish('ended');
      // The old stream does not see the end itself, and the child counts as running until it is closed.
      output.destroy();
    });
    socket.once('error', (error) => {
      this.#finish(error);
    });
    socket.resume();
    return socket;
  }

  #readChunks(output: Readable): Readable {
    output.once('end', () => {
      this.#finish('ended');
    });
    output.on('data', (chunk: Buffer) => {
      for (let rest = chunk; rest.length > 0;) {
        const taken = rest.copy(this.#filling.bytes, this.#filled);
        this.#filled += taken;
        rest = rest.subarray(taken);
        if (this.#filled === this.#sizeBytes) this.#handBuffer();
      }
      if (this.#paused) output.pause();
    });
    return output;
  }

  /** Gives the reader what the buffer holds, and begins a new one. */
  #handBuffer(): void {
    const full = this.#filling;
    const isWhole = this.#handed === 0;
    if (isWhole) this.#hand(full.narrow(full.bytes.subarray(0, this.#filled)));
    else this.#handPart();
    this.#filling = Lease.take(this.#sizeBytes);
    if (!isWhole) full.release();
    this.#handed = 0;
    this.#filled = 0;
    this.#paused = true;
  }

  /** Gives the reader a copy of what it has not had: the rest of the buffer goes on being filled. */
  #handPart(): void {
    const part = this.#filling.bytes.subarray(this.#handed, this.#filled);
    this.#handed = this.#filled;
    const copy = Lease.take(part.length);
    part.copy(copy.bytes);
    this.#hand(copy);
  }

  #hand(part: Lease): void {
    this.#ready.push(part);
    this.#wake?.();
  }

  #finish(end: 'ended' | Error): void {
    if (this.#end === 'open') this.#end = end;
    this.#wake?.();
  }

  /** The next buffer, a full one or what there is after a moment; undefined at the end. */
  async #wait(): Promise<Lease | undefined> {
    while (this.#end === 'open') {
      const woken = await this.#nextEvent();
      if (this.#ready.length > 0) return this.#ready.shift();
      if (!woken && this.#filled > this.#handed) break;
    }
    if (this.#filled > this.#handed) this.#handPart();
    const last = this.#ready.shift();
    if (last === undefined && this.#end instanceof Error) throw this.#end;
    return last;
  }

  /** Waits for a buffer, the end, or (then false) the end of the linger time. */
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
