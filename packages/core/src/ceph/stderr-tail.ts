import type { Readable } from 'node:stream';

const maxBytes = 64 * 1024;

/** Keeps the last 64 KiB of a child's standard error and drains the rest, so that the child never blocks on it. */
export class StderrTail {
  readonly #chunks: Buffer[] = [];
  #bytes = 0;

  /** @param onOutput called whenever something arrives: rbd prints its progress there */
  constructor(stderr: Readable, onOutput: () => void) {
    stderr.on('data', (chunk: Buffer) => {
      this.#add(chunk);
      onOutput();
    });
    // Its end is the child's end, which is watched elsewhere.
    stderr.on('error', () => {});
  }

  #add(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#bytes += chunk.length;
    for (let oldest = this.#chunks[0]; oldest !== undefined; oldest = this.#chunks[0]) {
      if (this.#bytes - oldest.length < maxBytes) return;
      this.#chunks.shift();
      this.#bytes -= oldest.length;
    }
  }

  get text(): string {
    return Buffer.concat(this.#chunks).subarray(-maxBytes).toString('utf8');
  }
}
