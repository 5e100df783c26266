import { createHash, type Hash } from 'node:crypto';

/** Bytes of a block: the smallest thing that is remembered as written or not. */
export const blockBytes = 4096;
const zeros = Buffer.alloc(blockBytes);

export const isZero = (bytes: Uint8Array): boolean => {
  for (let at = 0; at < bytes.length; at += blockBytes) {
    if (bytes[at] !== 0) return false;
    const piece = bytes.subarray(at, at + blockBytes);
    if (Buffer.compare(piece, zeros.subarray(0, piece.length)) !== 0) return false;
  }
  return true;
};

/**
 * What an image holds: blocks that were written; all others read as zeros. A block is never changed, only replaced by another one. So
 * copies share their blocks, and whoever finds another block in the same place knows that it was written since.
 */
export class Content {
  readonly #blocks: Map<number, Uint8Array>;

  constructor(blocks: ReadonlyMap<number, Uint8Array> = new Map()) {
    this.#blocks = new Map(blocks);
  }

  copy(): Content {
    return new Content(this.#blocks);
  }

  block(index: number): Uint8Array | undefined {
    return this.#blocks.get(index);
  }

  /** Places of the blocks that were written, in no order. */
  get indexes(): Iterable<number> {
    return this.#blocks.keys();
  }

  /** The same without the blocks that it shares with another one. */
  without(other: Content): Content {
    return new Content(new Map([...this.#blocks].filter(([index, block]) => other.#blocks.get(index) !== block)));
  }

  read(offset: number, length: number): Buffer {
    const bytes = Buffer.alloc(length);
    eachPart(offset, length, ({ index, from, to, at }) => {
      const block = this.#blocks.get(index);
      if (block !== undefined) bytes.set(block.subarray(from, to), at);
    });
    return bytes;
  }

  write(offset: number, bytes: Uint8Array): void {
    // One copy of which the blocks are parts: twelve thousand small buffers would take a second.
    const copy = new Uint8Array(bytes);
    eachPart(offset, bytes.length, ({ index, from, to, at }) => {
      const piece = copy.subarray(at, at + to - from);
      if (piece.length === blockBytes) this.#blocks.set(index, piece);
      else this.#replace(index, (block) => block.set(piece, from));
    });
  }

  /** Like {@link write}, but a block that is all zeros is discarded, as `import-diff` does. */
  writeSparsely(offset: number, bytes: Uint8Array): void {
    this.write(offset, bytes);
    eachPart(offset, bytes.length, ({ index }) => {
      if (isZero(this.#blocks.get(index) ?? zeros)) this.#blocks.delete(index);
    });
  }

  /** Makes a range read as zeros. `length` may reach far beyond everything. */
  discard(offset: number, length: number): void {
    const end = offset + length;
    for (const index of this.#blocks.keys()) {
      const begin = index * blockBytes;
      if (begin >= end || begin + blockBytes <= offset) continue;
      if (begin >= offset && begin + blockBytes <= end) this.#blocks.delete(index);
      else this.#replace(index, (block) => block.fill(0, Math.max(0, offset - begin), end - begin));
    }
  }

  /** Takes the content of another one over. What changes by that counts as written. */
  rollBackTo(other: Content): void {
    for (const index of new Set([...this.#blocks.keys(), ...other.#blocks.keys()])) {
      const block = other.#blocks.get(index);
      if (block === this.#blocks.get(index)) continue;
      if (block === undefined) this.#blocks.delete(index);
      else this.#blocks.set(index, block.slice());
    }
  }

  /** SHA-256, in hex, of all of it. */
  sha256(sizeBytes: number): string {
    const hash = createHash('sha256');
    eachPart(0, sizeBytes, ({ index, to }) => hashBlock(hash, this.#blocks.get(index) ?? zeros, to));
    return hash.digest('hex');
  }

  #replace(index: number, change: (block: Uint8Array) => void): void {
    const block = this.#blocks.get(index)?.slice() ?? new Uint8Array(blockBytes);
    change(block);
    this.#blocks.set(index, block);
  }
}

const hashBlock = (hash: Hash, block: Uint8Array, bytes: number): Hash => hash.update(block.subarray(0, bytes));

/** A range, block by block: `from` and `to` are in the block, `at` is in the range. */
const eachPart = (
  offset: number,
  length: number,
  visit: (part: { index: number; from: number; to: number; at: number }) => void,
): void => {
  for (let at = 0; at < length;) {
    const index = Math.floor((offset + at) / blockBytes);
    const from = offset + at - index * blockBytes;
    const to = Math.min(blockBytes, from + length - at);
    visit({ index, from, to, at });
    at += to - from;
  }
};
