import { Lease } from '../transfer/lease.js';

/** Flag byte and length of gRPC's frame around a message. */
export const frameHeadBytes = 5;

/** In the words of grpc-js. */
export class MessageTooLarge extends Error {
  /** The head of the frame that told of it. */
  readonly head: Buffer;

  constructor(head: Buffer, messageBytes: number, maxMessageBytes: number) {
    super(`Received message larger than max (${messageBytes} vs ${maxMessageBytes})`);
    this.head = head;
  }
}

/**
 * Puts gRPC's frames together from the pieces of HTTP/2, each in one buffer, whose lease the one may claim who gets the message.
 * grpc-js's own decoder keeps the pieces and joins them in new memory.
 */
export class FrameAssembler {
  readonly #maxMessageBytes: number;
  readonly #head = Buffer.alloc(frameHeadBytes);
  #headFilled = 0;
  /** The frame that its head told of. */
  #frame: { readonly lease: Lease; readonly bytes: Buffer } | null = null;
  #filled = 0;

  /** @param maxMessageBytes -1 for no limit, as in grpc-js */
  constructor(maxMessageBytes: number) {
    this.#maxMessageBytes = maxMessageBytes;
  }

  /** Takes a piece; answers the frames that it completes, heads included. @throws MessageTooLarge */
  write(piece: Uint8Array): Buffer[] {
    const whole: Buffer[] = [];
    for (let at = 0; at < piece.length;) {
      const room = this.room();
      const taken = Math.min(piece.length - at, room.length);
      room.set(taken === piece.length ? piece : piece.subarray(at, at + taken));
      at += taken;
      const frame = this.filled(taken);
      if (frame !== null) whole.push(frame);
    }
    return whole;
  }

  /** Where the next bytes go, at least one: for whoever puts them there himself and says so with `filled`. */
  room(): Buffer {
    return this.#frame === null ? this.#head.subarray(this.#headFilled) : this.#frame.bytes.subarray(this.#filled);
  }

  /** Takes note of bytes in the room; answers the frame that they complete. @throws MessageTooLarge */
  filled(bytes: number): Buffer | null {
    if (this.#frame === null) {
      this.#headFilled += bytes;
      if (this.#headFilled < frameHeadBytes) return null;
      this.#begin(this.#head.readUInt32BE(1));
    } else this.#filled += bytes;
    const frame = this.#frame;
    if (frame === null || this.#filled < frame.bytes.length) return null;
    this.#frame = null;
    return frame.lease.bytesForMessage;
  }

  #begin(messageBytes: number): void {
    this.#headFilled = 0;
    if (this.#maxMessageBytes !== -1 && messageBytes > this.#maxMessageBytes) {
      throw new MessageTooLarge(Buffer.from(this.#head), messageBytes, this.#maxMessageBytes);
    }
    const lease = Lease.takeFramed(frameHeadBytes + messageBytes);
    const { bytes } = lease;
    bytes.set(this.#head);
    this.#frame = { lease, bytes };
    this.#filled = frameHeadBytes;
  }
}
