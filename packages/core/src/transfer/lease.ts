import { roomBeforeChunk } from '../diff/zero-cutter.js';
import { FerryError } from '../errors/ferry-error.js';

/**
 * Buffers with a little room before their content, where that is written which is put before it: what the chunk before left over,
 * and the heads of the wire. A message and its frame are then the buffer itself, without another copy of a MiB. They are used again
 * and again, so each has one owner at a time: whoever holds its lease.
 */

/** gRPC's frame head (5 bytes), and tag byte and length (of up to 4 GiB) of the data message in it (6). */
const wireHeadBytes = 11;
const roomBytes = wireHeadBytes + roomBeforeChunk;

/** Smaller content is not worth keeping a buffer for. */
const leastBytes = 64 * 1024;

/** Content of up to twice the size shares buffers: messages are of any size, as the child's output came. */
const capacityFor = (sizeBytes: number): number =>
  sizeBytes <= leastBytes ? sizeBytes : 2 ** Math.ceil(Math.log2(sizeBytes));

/** A buffer with room, for as long as there is one: it is leased many times. */
interface Roomy {
  readonly buffer: ArrayBufferLike;
  /** Who has it now; null for nobody. */
  tenant: Lease | null;
  /** It is in a message of gRPC, which holds bytes and no lease: whoever gets the message may claim it. */
  isInMessage: boolean;
}

/** Only the room of these may be written to: a view may as well begin in the middle of somebody's data. */
const roomy = new WeakMap<ArrayBufferLike, Roomy>();

/**
 * Buffers that were given back, the latest last: it is the one that may still be in a cache. V8 collects garbage by how much was
 * allocated outside its heap, and a full collection for every 16 MiB that went through cost more than a third of a transfer's CPU;
 * where memory is new, each of its pages costs a fault besides. As many as a window holds messages when nobody takes them.
 */
const spare: Roomy[] = [];
const maxSpare = 24;

const takeSpare = (capacityBytes: number): Roomy | undefined => {
  const at = spare.findLastIndex(({ buffer }) => buffer.byteLength === roomBytes + capacityBytes);
  return at < 0 ? undefined : spare.splice(at, 1)[0];
};

const make = (capacityBytes: number): Roomy => {
  const { buffer } = Buffer.allocUnsafeSlow(roomBytes + capacityBytes);
  const made = { buffer, tenant: null, isInMessage: false };
  roomy.set(buffer, made);
  return made;
};

const keep = (free: Roomy): void => {
  if (free.buffer.byteLength <= roomBytes + leastBytes) return;
  spare.push(free);
  // What has not been asked for longest goes, or sizes of a while ago would keep their places.
  if (spare.length > maxSpare) spare.shift();
};

const poison = 0x5a;
let isPoisoned = false;
let report: (fault: Error) => void = () => {};

/**
 * For tests, until the answer is called: what is given back is overwritten at once, so that whoever looks at it all the same reads
 * nonsense, and giving a lease back twice throws.
 */
export const poisonReleased = (): (() => void) => {
  const was = isPoisoned;
  isPoisoned = true;
  return () => {
    isPoisoned = was;
  };
};

/** Who is told when a lease is given back twice, from now on. */
export const reportSecondReleases = (to: (fault: Error) => void): void => {
  report = to;
};

const givenBackBefore = (): void => {
  const fault = new FerryError('INTERNAL', 'a buffer was given back twice');
  if (isPoisoned) throw fault;
  report(fault);
};

/**
 * The right to use some bytes, which one owner at a time has. Whoever is given a lease owns it: he hands it on or gives it back, once,
 * and does not look at its bytes afterwards. One that is forgotten, as where a transfer fails, costs the garbage collector what it
 * saves otherwise, and nothing else.
 */
export class Lease {
  /** Null for memory that nobody else waits for. */
  readonly #roomy: Roomy | null;
  #bytes: Buffer | null;

  private constructor(of: Roomy | null, bytes: Buffer) {
    this.#roomy = of;
    this.#bytes = bytes;
    if (of !== null) of.tenant = this;
  }

  /** A buffer for `sizeBytes` of content, with room before it. */
  static take(sizeBytes: number): Lease {
    return Lease.#take(sizeBytes, roomBytes, sizeBytes);
  }

  /** A buffer for `sizeBytes` that are content and the heads before it, as they come over the wire. */
  static takeFramed(sizeBytes: number): Lease {
    return Lease.#take(Math.max(0, sizeBytes - roomBytes), 0, sizeBytes);
  }

  static #take(contentBytes: number, offset: number, sizeBytes: number): Lease {
    const capacityBytes = capacityFor(contentBytes);
    const taken = takeSpare(capacityBytes) ?? make(capacityBytes);
    return new Lease(taken, Buffer.from(taken.buffer, offset, sizeBytes));
  }

  /** Bytes in memory of their own, to go where leases go. It is neither used again nor overwritten. */
  static of(bytes: Uint8Array): Lease {
    return new Lease(null, Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length));
  }

  /**
   * The lease of the bytes of a message, for whoever got the message: to be claimed once.
   * @throws INTERNAL when they are somebody else's by now
   */
  static claim(bytes: Uint8Array): Lease {
    const home = roomy.get(bytes.buffer);
    if (home === undefined) return Lease.of(bytes);
    if (home.tenant === null || !home.isInMessage) {
      throw new FerryError('INTERNAL', 'the buffer of a message is in use for something else already');
    }
    home.isInMessage = false;
    return home.tenant.narrow(bytes);
  }

  /** Gives back what a message that has been sent lies in. Somebody did so before when it is another's by now: as in {@link release}. */
  static releaseSent(bytes: Uint8Array): void {
    const home = roomy.get(bytes.buffer);
    if (home === undefined) return;
    if (home.tenant !== null && home.isInMessage) home.tenant.release();
    else givenBackBefore();
  }

  /** @throws INTERNAL when they were given back: they may be somebody else's by now */
  get bytes(): Buffer {
    if (this.#bytes === null) throw new FerryError('INTERNAL', 'a buffer was used after it had been given back');
    return this.#bytes;
  }

  /** The bytes as they go into a message of gRPC; what comes out of it is claimed. */
  get bytesForMessage(): Buffer {
    const { bytes } = this;
    if (this.#roomy !== null) this.#roomy.isInMessage = true;
    return bytes;
  }

  /** Together with `headBytes` of the room before them; undefined when there is not so much. */
  withRoom(headBytes: number): Buffer | undefined {
    return withRoom(this.bytes, headBytes);
  }

  /** From now on it is these bytes of the same buffer. */
  narrow(bytes: Uint8Array): this {
    const { buffer } = this.bytes;
    if (bytes.buffer !== buffer) throw new FerryError('INTERNAL', 'a lease cannot be of another buffer');
    this.#bytes = Buffer.from(buffer, bytes.byteOffset, bytes.length);
    return this;
  }

  /**
   * Gives the bytes back, for the next one who needs a buffer. A second time does nothing, for this lease has no buffer any more, so
   * that a transfer does not fail after all went well; but two believe that they own it, and one of them may look at the bytes when they
   * are another's: it is reported, and throws in tests.
   */
  release(): void {
    if (this.#bytes === null) {
      givenBackBefore();
      return;
    }
    this.#bytes = null;
    const home = this.#roomy;
    if (home === null) return;
    home.tenant = null;
    home.isInMessage = false;
    if (isPoisoned) new Uint8Array(home.buffer).fill(poison);
    keep(home);
  }
}

/** The content of a message together with `headBytes` of the room before it; undefined when it has not so much. */
export const withRoom = (content: Uint8Array, headBytes: number): Buffer | undefined =>
  content.byteOffset <= roomBytes && content.byteOffset >= headBytes && roomy.has(content.buffer)
    ? Buffer.from(content.buffer, content.byteOffset - headBytes, headBytes + content.length)
    : undefined;
