import { FerryError, throwIfAborted } from '@rbdferry/core/errors/ferry-error.js';
import { unlessAborted } from '@rbdferry/core/transfer/stall.js';
import { isReaderGone, writeBytes } from '../write-output.js';
import type { Extent, RawTarget } from './raw-target.js';

const zeros = Buffer.alloc(1024 * 1024);
const partHint = 'what was written is not the whole backup: throw it away, and ask again';

/** The raw content on stdout from its first byte to its last: a pipe has no holes, so zeros are written out. */
export class StdoutTarget implements RawTarget {
  readonly #signal: AbortSignal;
  #position = 0;
  #sizeBytes = 0;

  /** @param signal when it is aborted, nobody waits for the reader any more */
  constructor(signal: AbortSignal) {
    this.#signal = signal;
  }

  begin(sizeBytes: number): Promise<void> {
    this.#sizeBytes = sizeBytes;
    return Promise.resolve();
  }

  async write(extents: readonly Extent[]): Promise<void> {
    for (const { offset, bytes } of extents) {
      if (offset < this.#position) throw outOfOrder();
      await this.#fill(offset);
      await this.#put(bytes);
    }
  }

  finish(): Promise<void> {
    return unlessAborted(this.#fill(this.#sizeBytes), this.#signal);
  }

  discard(): Promise<void> {
    return Promise.resolve();
  }

  async #fill(until: number): Promise<void> {
    while (this.#position < until) await this.#put(zeros.subarray(0, until - this.#position));
  }

  async #put(bytes: Uint8Array): Promise<void> {
    throwIfAborted(this.#signal);
    try {
      await writeBytes('stdout', bytes);
    } catch (thrown) {
      // No quiet end, as where something is only shown: whoever reads a disk and stops has not got it.
      const message = thrown instanceof Error ? thrown.message : String(thrown);
      const why = isReaderGone(thrown) ? 'could not write to stdout: its reader has gone' : message;
      throw new FerryError('OUTPUT_FAILED', why, { hint: partHint });
    }
    this.#position += bytes.length;
  }
}

const outOfOrder = (): FerryError =>
  new FerryError('INVALID_REQUEST', 'the backup is of a striped image and does not come in order, as stdout needs it', {
    hint: 'write it to a file',
  });
