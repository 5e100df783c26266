import type { Snapshot } from '../port.js';
import type { Pair } from './protocol.js';

/** Ceph's own encoding of what a class method takes and gives: little-endian sizes before what they count. */

/** What `rbd.metadata_list` takes: list the keys after this one, so many. */
export const encodeMetadataAsk = (after: Uint8Array, max: number): Buffer => {
  const ask = Buffer.alloc(4 + after.length + 8);
  ask.writeUInt32LE(after.length, 0);
  ask.set(after, 4);
  ask.writeBigUInt64LE(BigInt(max), 4 + after.length);
  return ask;
};

/** A map of bytes to bytes. @throws RangeError when it is cut off */
export const decodePairs = (answer: Buffer): Pair[] => {
  const reader = new Reader(answer);
  // Copies: the answer's buffer is much larger.
  const copy = (): Uint8Array => Uint8Array.from(reader.bytes());
  return Array.from({ length: reader.u32() }, (): Pair => [copy(), copy()]);
};

const encodeBytes = (bytes: Uint8Array): Buffer => {
  const size = Buffer.alloc(4);
  size.writeUInt32LE(bytes.length);
  return Buffer.concat([size, bytes]);
};

export const encodeText = (text: string): Buffer => encodeBytes(Buffer.from(text));

/** What `rbd.metadata_set` takes: a map, here of one key. */
export const encodePair = (key: string, value: string): Buffer => {
  const count = Buffer.alloc(4);
  count.writeUInt32LE(1);
  return Buffer.concat([count, encodeText(key), encodeText(value)]);
};

/** What `rbd.get_features` takes: of the head, and for somebody who only reads. */
export const encodeFeaturesAsk = (): Buffer => Buffer.concat([encodeId(0xff_ff_ff_ff_ff_ff_ff_fen), Buffer.from([1])]);

/** What it answers: the features, and those that whoever does not know them must leave the image alone for. */
export const decodeFeatures = (answer: Buffer): bigint => new Reader(answer).u64();

/** A snapshot's id, for the methods that take nothing else. */
export const encodeId = (id: bigint): Buffer => {
  const ask = Buffer.alloc(8);
  ask.writeBigUInt64LE(id);
  return ask;
};

export const decodeText = (answer: Buffer): string => new Reader(answer).text();

/** What `rbd.get_snapcontext` answers: the newest id that there was, and those that there are. */
export const decodeSnapshotIds = (answer: Buffer): bigint[] => {
  const reader = new Reader(answer);
  reader.u64();
  return Array.from({ length: reader.u32() }, () => reader.u64());
};

/** SNAPSHOT_NAMESPACE_TYPE_USER */
const userSnapshot = 0;

/** What `rbd.snapshot_get` answers (`cls::rbd::SnapshotInfo`, version 1 and later), or null for one that is not a user's. */
export const decodeSnapshot = (answer: Buffer): Omit<Snapshot, 'protected'> | null => {
  const reader = new Reader(answer).versioned();
  const id = Number(reader.u64());
  const type = reader.versioned().u32();
  const name = reader.text();
  const sizeBytes = reader.u64();
  return type === userSnapshot ? { id, name, sizeBytes } : null;
};

/** Reads what stands one behind the other. @throws RangeError at the end */
class Reader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  u32(): number {
    this.#at += 4;
    return this.#bytes.readUInt32LE(this.#at - 4);
  }

  u64(): bigint {
    this.#at += 8;
    return this.#bytes.readBigUInt64LE(this.#at - 8);
  }

  bytes(length = this.u32()): Buffer {
    const end = this.#at + length;
    if (end > this.#bytes.length) throw new RangeError('an answer of Ceph is cut off');
    const found = this.#bytes.subarray(this.#at, end);
    this.#at = end;
    return found;
  }

  text(): string {
    return this.bytes().toString('utf8');
  }

  /** A structure that says its version, the oldest that can read it, and its length; it is skipped as a whole, whatever is read of it. */
  versioned(): Reader {
    this.bytes(2);
    return new Reader(this.bytes());
  }
}
