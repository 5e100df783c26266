import { DiffError, type DiffProblem, type StreamPlace } from './diff-error.js';
import { BANNER, TAG } from './records.js';

/** Told of each record of a stream, in order. Offsets and lengths are bytes in the image and safe integers. */
export interface RecordSink {
  name(record: 'from-snap' | 'to-snap', name: string): void;
  size(sizeBytes: number): void;
  extent(kind: 'data' | 'zero', offset: number, length: number): void;
  /** The next piece of the last data extent's payload, a view into the pushed chunk. */
  payload(view: Uint8Array): void;
  end(): void;
}

/** What the next bytes of the stream are. */
type Field = 'banner' | 'tag' | 'name-length' | 'name' | 'size' | 'extent' | 'payload' | 'after-end';

const BANNER_BYTES = new TextEncoder().encode(BANNER);
const TAG_BYTES = 1;
const NAME_LENGTH_BYTES = 4;
const SIZE_BYTES = 8;
const EXTENT_BYTES = 16;

/**
 * Cuts a stream that comes in arbitrary chunks into its records, by the format alone: it knows each record's
 * shape, not which records make sense where. It holds at most one record header or name, never a payload.
 */
export class RecordScanner {
  readonly #sink: RecordSink;
  readonly #maxNameBytes: number;
  /** The start of a field that a chunk's end cut in two. */
  readonly #scratch: Uint8Array;
  readonly #scratchView: DataView;
  #scratchBytes = 0;

  #field: Field = 'banner';
  #fieldBytes = BANNER_BYTES.length;
  #tag: number = TAG.end;
  #payloadLeft = 0;
  #position = 0;
  #recordOffset = 0;

  constructor(sink: RecordSink, maxNameBytes: number) {
    this.#sink = sink;
    this.#maxNameBytes = maxNameBytes;
    this.#scratch = new Uint8Array(Math.max(maxNameBytes, EXTENT_BYTES));
    this.#scratchView = new DataView(this.#scratch.buffer);
  }

  /** Bytes read. Safe as a number: 2^53 bytes take a hundred days at 1 GB/s. */
  get position(): number {
    return this.#position;
  }

  /** Position of the tag byte of the current record, or of the last one read. */
  get recordOffset(): number {
    return this.#recordOffset;
  }

  /** Bytes of the current data extent's payload that are still to come. */
  get payloadLeft(): number {
    return this.#payloadLeft;
  }

  get ended(): boolean {
    return this.#field === 'after-end';
  }

  /** Where the stream stands; meaningless once it has ended. */
  get place(): StreamPlace {
    switch (this.#field) {
      case 'banner':
      case 'payload':
        return this.#field;
      case 'tag':
      case 'after-end':
        return 'between-records';
      default:
        return 'record-header';
    }
  }

  /** @throws DiffError at bytes that are no record; the scanner cannot go on from there */
  scan(chunk: Uint8Array): void {
    const view = new DataView(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    let at = 0;
    while (at < chunk.length)
      at += this.#field === 'payload' ? this.#passPayload(chunk, at) : this.#takeField(chunk, view, at);
  }

  /** Skips what the chunk has of the payload; returns the number of bytes. */
  #passPayload(chunk: Uint8Array, at: number): number {
    const count = Math.min(this.#payloadLeft, chunk.length - at);
    this.#payloadLeft -= count;
    this.#position += count;
    if (this.#payloadLeft === 0) this.#await('tag', TAG_BYTES);
    this.#sink.payload(chunk.subarray(at, at + count));
    return count;
  }

  /** Reads the awaited field, or keeps its beginning when the chunk ends first; returns the bytes taken. */
  #takeField(chunk: Uint8Array, view: DataView, at: number): number {
    const missing = this.#fieldBytes - this.#scratchBytes;
    const count = Math.min(missing, chunk.length - at);
    this.#position += count;
    if (count === this.#fieldBytes) {
      this.#readField(view, at);
      return count;
    }
    this.#scratch.set(chunk.subarray(at, at + count), this.#scratchBytes);
    this.#scratchBytes += count;
    if (count === missing) {
      this.#scratchBytes = 0;
      this.#readField(this.#scratchView, 0);
    }
    return count;
  }

  #await(field: Field, bytes: number): void {
    this.#field = field;
    this.#fieldBytes = bytes;
  }

  #readField(view: DataView, at: number): void {
    switch (this.#field) {
      case 'banner':
        return this.#readBanner(view, at);
      case 'tag':
        return this.#readTag(view.getUint8(at));
      case 'name-length':
        return this.#readNameLength(view.getUint32(at, true));
      case 'name':
        return this.#readName(view, at);
      case 'size':
        return this.#readSize(view, at);
      case 'extent':
        return this.#readExtent(view, at);
      case 'payload': // passPayload takes it
        return;
      case 'after-end':
        this.#recordOffset = this.#position - 1;
        return this.#fail({ kind: 'trailing-bytes' });
    }
  }

  #readBanner(view: DataView, at: number): void {
    if (BANNER_BYTES.some((byte, index) => view.getUint8(at + index) !== byte)) this.#fail({ kind: 'bad-banner' });
    this.#await('tag', TAG_BYTES);
  }

  #readTag(tag: number): void {
    this.#tag = tag;
    this.#recordOffset = this.#position - TAG_BYTES;
    switch (tag) {
      case TAG.data:
      case TAG.zero:
        return this.#await('extent', EXTENT_BYTES);
      case TAG.fromSnap:
      case TAG.toSnap:
        return this.#await('name-length', NAME_LENGTH_BYTES);
      case TAG.size:
        return this.#await('size', SIZE_BYTES);
      case TAG.end:
        this.#await('after-end', TAG_BYTES);
        return this.#sink.end();
      default:
        this.#fail({ kind: 'unknown-tag', tag });
    }
  }

  #readNameLength(nameBytes: number): void {
    const maxNameBytes = this.#maxNameBytes;
    if (nameBytes > maxNameBytes) this.#fail({ kind: 'name-too-long', nameBytes, maxNameBytes });
    if (nameBytes === 0) this.#fail({ kind: 'bad-name', reason: 'empty' });
    this.#await('name', nameBytes);
  }

  #readName(view: DataView, at: number): void {
    const start = view.byteOffset + at;
    const name = decodeUtf8(new Uint8Array(view.buffer, start, this.#fieldBytes));
    if (name === undefined) return this.#fail({ kind: 'bad-name', reason: 'not-utf8' });
    this.#await('tag', TAG_BYTES);
    this.#sink.name(this.#tag === TAG.fromSnap ? 'from-snap' : 'to-snap', name);
  }

  #readSize(view: DataView, at: number): void {
    const sizeBytes = this.#readUint64(view, at);
    this.#await('tag', TAG_BYTES);
    this.#sink.size(sizeBytes);
  }

  #readExtent(view: DataView, at: number): void {
    const offset = this.#readUint64(view, at);
    const length = this.#readUint64(view, at + 8);
    const hasPayload = this.#tag === TAG.data && length > 0;
    this.#payloadLeft = hasPayload ? length : 0;
    if (hasPayload) this.#await('payload', 0);
    else this.#await('tag', TAG_BYTES);
    this.#sink.extent(this.#tag === TAG.data ? 'data' : 'zero', offset, length);
  }

  #readUint64(view: DataView, at: number): number {
    const value = view.getUint32(at + 4, true) * 2 ** 32 + view.getUint32(at, true);
    if (value > Number.MAX_SAFE_INTEGER)
      this.#fail({
        kind: 'number-too-large',
        value: view.getBigUint64(at, true),
      });
    return value;
  }

  #fail(problem: DiffProblem): never {
    throw new DiffError(problem, BigInt(this.#recordOffset));
  }
}

/** undefined when the bytes are not UTF-8. A leading byte order mark is part of the name. */
function decodeUtf8(bytes: Uint8Array): string | undefined {
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  try {
    return decoder.decode(bytes);
  } catch {
    return undefined;
  }
}
