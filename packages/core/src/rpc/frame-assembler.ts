import { allocateFramed } from '../transfer/roomy-buffer.js';

/** Flag byte and length of gRPC's frame around a message. */
export const frameHeadBytes = 5;

/**
 * Puts gRPC's frames together from the pieces of HTTP/2, each in one buffer that can be given back (`releaseRoomy`).
 * grpc-js's own decoder keeps the pieces and joins them in new memory.
 */
export class FrameAssembler {
  readonly #maxMessageBytes: number;
  readonly #head = Buffer.alloc(frameHeadBytes);
  #headFilled = 0;
  /** The frame that its head told of. */
  #frame: Buffer | null = null;
  #filled = 0;

  /** @param maxMessageBytes -1 for no limit, as in grpc-js */
  constructor(maxMessageBytes: number) {
    this.#maxMessageBytes = maxMessageBytes;
  }

  /** Takes a piece; answers the frames that it completes, heads included. @throws when a message is larger than allowed */
  write(piece: Uint8Array): Buffer[] {
    const whole: Buffer[] = [];
    for (let at = 0; at < piece.length;) {
      at += this.#frame === null ? this.#takeHead(piece, at) : this.#takeBody(this.#frame, piece, at);
      if (this.#frame === null || this.#filled < this.#frame.length) continue;
      whole.push(this.#frame);
      this.#frame = null;
    }
    return whole;
  }

  #takeHead(piece: Uint8Array, at: number): number {
    const taken = Math.min(piece.length - at, frameHeadBytes - this.#headFilled);
    this.#head.set(piece.subarray(at, at + taken), this.#headFilled);
    this.#headFilled += taken;
    if (this.#headFilled === frameHeadBytes) this.#begin(this.#head.readUInt32BE(1));
    return taken;
  }

  #begin(messageBytes: number): void {
    if (this.#maxMessageBytes !== -1 && messageBytes > this.#maxMessageBytes) {
      throw new Error(`Received message larger than max (${messageBytes} vs ${this.#maxMessageBytes})`);
    }
    this.#frame = allocateFramed(frameHeadBytes + messageBytes);
    this.#frame.set(this.#head);
    this.#filled = frameHeadBytes;
    this.#headFilled = 0;
  }

  #takeBody(frame: Buffer, piece: Uint8Array, at: number): number {
    const taken = Math.min(piece.length - at, frame.length - this.#filled);
    frame.set(taken === piece.length ? piece : piece.subarray(at, at + taken), this.#filled);
    this.#filled += taken;
    return taken;
  }
}
