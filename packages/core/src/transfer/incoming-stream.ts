import { DiffParser, type DiffParserOptions } from '../diff/diff-parser.js';
import { FerryError } from '../errors/ferry-error.js';
import type { StreamEnd } from '../model/chain.js';
import { StreamDigest } from './stream-digest.js';

/** The final record of an rbd diff: without it `import-diff` fails and makes no snapshot. */
export const endRecord = Uint8Array.of('e'.charCodeAt(0));

/**
 * A diff stream on its way into `import-diff`: its structure is checked before it is written, and its end record is held back, so that the
 * snapshot is made when all is known to be right and not before.
 */
export class IncomingStream {
  readonly #parser: DiffParser;
  readonly #digest = new StreamDigest();

  constructor(expected: DiffParserOptions) {
    this.#parser = new DiffParser(expected);
  }

  get bytes(): bigint {
    return this.#parser.bytesConsumed;
  }

  /** Bytes of the diff so far: those with data, and those that read as zeros. */
  get coveredBytes(): bigint {
    const { dataBytes, zeroBytes } = this.#parser.totals;
    return dataBytes + zeroBytes;
  }

  /**
   * Takes the next part, and writes what of it may be written now: all but the end record.
   *
   * @param write may throw; then the stream is of no use any more
   * @throws DiffError
   */
  async pass(part: Uint8Array, write: (body: Uint8Array) => Promise<void>): Promise<void> {
    this.#parser.push(part);
    // The parser refuses anything after the end record, so when it has ended the last byte is that record.
    const body = this.#parser.ended && part.length > 0 ? part.subarray(0, -1) : part;
    if (body.length > 0) await write(body);
    // Of what was written, and not of what came: if the buffer was used again too early, the digest must not match.
    this.#digest.update(part);
  }

  /** @param said what the other end says that it sent @throws DiffError (truncated), DIGEST_MISMATCH */
  finish(said: StreamEnd | undefined): { streamBytes: bigint; dataBytes: bigint; streamGmac: Buffer } {
    const { dataBytes } = this.#parser.finish();
    const streamGmac = this.#digest.digest();
    if (said?.streamBytes === this.bytes && streamGmac.equals(said.streamGmac)) {
      return { streamBytes: this.bytes, dataBytes, streamGmac };
    }
    throw new FerryError(
      'DIGEST_MISMATCH',
      `received ${this.bytes} bytes of GMAC ${streamGmac.toString('hex')}, the sender says ${
        said === undefined ? 'nothing' : `${said.streamBytes} of ${Buffer.from(said.streamGmac).toString('hex')}`
      }`,
    );
  }
}
