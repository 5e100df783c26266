import { BANNER, TAG } from './records.js';

/** Zeros are cut out in blocks of this size and alignment, in bytes: `import-diff` looks for zeros in blocks of 4 KiB itself. */
export const zeroBlockBytes = 4096;

/** Tag, offset and length of an extent. */
const headBytes = 17;

/** What {@link ZeroCutter.push} needs to be free before a chunk, in bytes: a part of a block, and a record's head. */
export const roomBeforeChunk = zeroBlockBytes + headBytes;

/** A data record that may still turn out to have zeros is held until it ends, or is as long as this; then another one begins. */
const longestRecordBytes = 8 * 1024 * 1024;

const zeros = Buffer.alloc(zeroBlockBytes);

/** What the next bytes of the stream are: a record, bytes of one that are passed on, or payload. */
type Field = 'record' | 'copy' | 'payload';

/** A data or zero record whose length is not known yet. */
interface OpenRecord {
  readonly tag: number;
  /** Its head, where it lies in its chunk. */
  readonly head: Buffer;
  readonly offset: number;
  /** How many chunks are held before the one that has its head. */
  readonly held: number;
}

/**
 * Puts a zero extent in place of every aligned block of zeros within a data extent of an rbd diff v1 stream, which the image is the
 * same for: `import-diff` finds such blocks itself and does the same with them as with zero extents. Extents without such a
 * block stay as they are, byte for byte (those of more than 8 MiB become several). What comes out depends on the stream alone, not on
 * how it was cut into chunks.
 *
 * A chunk is changed in its own buffer: whatever is put in is shorter than what is taken out. What is no diff passes unchanged from
 * where that shows; to refuse it is the reader's part.
 */
export class ZeroCutter {
  #field: Field = 'copy';
  #copyLeft = BANNER.length;
  /** Of the payload that comes next: where it belongs in the image, and how much of its record is still to come. */
  #offset = 0;
  #left = 0;
  #open: OpenRecord | null = null;
  #held: Buffer[] = [];
  /** The end of the last chunk: a part of a block or of a record's head. */
  readonly #carry = Buffer.alloc(zeroBlockBytes);
  #carryBytes = 0;

  #buffer: Buffer = this.#carry;
  #start = 0;
  #read = 0;
  #write = 0;

  /**
   * Takes the next chunk and answers those that are done, which are views into the buffers that were given.
   *
   * @param buffer {@link roomBeforeChunk} bytes of any content, and the chunk; the cutter's own until its views have come out
   */
  push(buffer: Buffer): Buffer[] {
    this.#buffer = buffer;
    this.#read = roomBeforeChunk - this.#carryBytes;
    this.#carry.copy(buffer, this.#read, 0, this.#carryBytes);
    this.#begin();
    while (this.#read < this.#buffer.length && this.#takeNext());
    this.#carryBytes = this.#buffer.copy(this.#carry, 0, this.#read);
    this.#hold();
    return this.#done();
  }

  /** Views that come out later; of a buffer that has none here and none in what came out, nothing will come out. */
  get held(): readonly Buffer[] {
    return this.#held;
  }

  /** The stream has ended; what it said it would have and did not is missing in what comes out as well. */
  finish(): Buffer[] {
    const rest = [];
    if (this.#open?.tag === TAG.data) this.#close(this.#offset + this.#left);
    else if (this.#field === 'payload') {
      this.#close(this.#offset);
      rest.push(writeHead(Buffer.alloc(headBytes), TAG.data, { offset: this.#offset, length: this.#left }));
    }
    rest.push(this.#carry.subarray(0, this.#carryBytes));
    return [...this.#held.splice(0), ...rest.filter(({ length }) => length > 0)];
  }

  /** Begins to write, a record's head before what was read where payload may need one. */
  #begin(): void {
    const needsHead = this.#field === 'payload' && this.#open?.tag !== TAG.data;
    this.#start = needsHead ? this.#read - headBytes : this.#read;
    this.#write = this.#start;
  }

  #hold(): void {
    if (this.#write > this.#start) this.#held.push(this.#buffer.subarray(this.#start, this.#write));
  }

  /** Answers false when the chunk has not enough of what comes next. */
  #takeNext(): boolean {
    switch (this.#field) {
      case 'copy':
        return this.#takeCopy();
      case 'record':
        return this.#takeRecord();
      case 'payload':
        return this.#takePayload();
    }
  }

  #takeCopy(): boolean {
    const bytes = Math.min(this.#copyLeft, this.#buffer.length - this.#read);
    this.#move(bytes);
    this.#copyLeft -= bytes;
    if (this.#copyLeft === 0) this.#field = 'record';
    return true;
  }

  #takeRecord(): boolean {
    const [buffer, at] = [this.#buffer, this.#read];
    const has = (bytes: number) => buffer.length - at >= bytes;
    switch (buffer[at]) {
      case TAG.fromSnap:
      case TAG.toSnap:
        return has(5) && this.#copy(5 + buffer.readUInt32LE(at + 1));
      case TAG.size:
        return this.#copy(9);
      case TAG.zero:
        return this.#copy(headBytes);
      case TAG.data:
        return has(headBytes) && this.#takeHead(readNumber(buffer, at + 1), readNumber(buffer, at + 9));
      default:
        // The end, after which nothing comes, or nothing that we know.
        return this.#copy(Infinity);
    }
  }

  #copy(bytes: number): true {
    this.#field = 'copy';
    this.#copyLeft = bytes;
    return true;
  }

  #takeHead(offset: number, length: number): true {
    if (length === 0 || !Number.isSafeInteger(offset + length)) return this.#copy(Infinity);
    this.#field = 'payload';
    this.#offset = offset;
    this.#left = length;
    // Written again where the first data is.
    this.#read += headBytes;
    return true;
  }

  /** Takes blocks as long as they are alike. */
  #takePayload(): boolean {
    const from = this.#read;
    const isZero = this.#isZeroBlock(from, this.#blockBytes(0));
    let bytes = 0;
    for (let next = this.#blockBytes(0); next > 0 && this.#isZeroBlock(from + bytes, next) === isZero;) {
      bytes += next;
      next = this.#blockBytes(bytes);
    }
    if (bytes === 0) return false;
    const done = isZero ? this.#putZero(bytes) : this.#putData(bytes);
    this.#offset += done;
    this.#left -= done;
    if (this.#left === 0) {
      this.#close(this.#offset);
      this.#field = 'record';
    }
    return true;
  }

  /** Of the block, or the part of one, that begins so many bytes further; 0 when it is not here as a whole. */
  #blockBytes(further: number): number {
    const bytes = Math.min(this.#left - further, zeroBlockBytes - ((this.#offset + further) % zeroBlockBytes));
    return this.#read + further + bytes <= this.#buffer.length ? bytes : 0;
  }

  #isZeroBlock(at: number, bytes: number): boolean {
    const buffer = this.#buffer;
    return bytes === zeroBlockBytes && buffer[at] === 0 && buffer.compare(zeros, 0, bytes, at, at + bytes) === 0;
  }

  #putZero(bytes: number): number {
    // First, for the head takes the place of the zeros.
    this.#read += bytes;
    if (this.#open?.tag !== TAG.zero) this.#putHead(TAG.zero);
    return bytes;
  }

  #putData(bytes: number): number {
    if (this.#open?.tag !== TAG.data) this.#putHead(TAG.data);
    const room = longestRecordBytes - (this.#offset - (this.#open?.offset ?? this.#offset));
    const taken = Math.min(bytes, room);
    this.#move(taken);
    if (taken === room) this.#close(this.#offset + taken);
    return taken;
  }

  /** Closes the record before, and opens another. */
  #putHead(tag: number): void {
    this.#close(this.#offset);
    if (this.#read - this.#write < headBytes) this.#moveOn();
    const head = this.#buffer.subarray(this.#write, this.#write + headBytes);
    this.#write += headBytes;
    writeHead(head, tag, { offset: this.#offset, length: 0 });
    this.#open = { tag, head, offset: this.#offset, held: this.#held.length };
  }

  /** Goes on in new memory: in the middle of a long record there is no room for a head. */
  #moveOn(): void {
    this.#hold();
    const rest = this.#buffer.subarray(this.#read);
    this.#buffer = Buffer.allocUnsafe(headBytes + rest.length);
    this.#read = headBytes;
    rest.copy(this.#buffer, this.#read);
    this.#begin();
  }

  #move(bytes: number): void {
    if (this.#write !== this.#read) this.#buffer.copyWithin(this.#write, this.#read, this.#read + bytes);
    this.#write += bytes;
    this.#read += bytes;
  }

  /** Now the length of the record is known. */
  #close(end: number): void {
    if (this.#open !== null) writeNumber(this.#open.head, 9, end - this.#open.offset);
    this.#open = null;
  }

  #done(): Buffer[] {
    const done = this.#held.splice(0, this.#open?.held ?? this.#held.length);
    if (this.#open !== null) this.#open = { ...this.#open, held: 0 };
    return done;
  }
}

const writeHead = (head: Buffer, tag: number, { offset, length }: { offset: number; length: number }): Buffer => {
  head[0] = tag;
  writeNumber(head, 1, offset);
  writeNumber(head, 9, length);
  return head;
};

const readNumber = (buffer: Buffer, at: number): number =>
  buffer.readUInt32LE(at + 4) * 2 ** 32 + buffer.readUInt32LE(at);

const writeNumber = (buffer: Buffer, at: number, value: number): void => {
  buffer.writeUInt32LE(value % 2 ** 32, at);
  buffer.writeUInt32LE(Math.floor(value / 2 ** 32), at + 4);
};
