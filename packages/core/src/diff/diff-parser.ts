import { DiffError, type DiffProblem } from './diff-error.js';
import { AscendingOrder, type ExtentOrder, WindowedOrder } from './extent-order.js';
import { HeaderBuilder, type ExpectedHeader } from './header-builder.js';
import { RecordScanner } from './record-scanner.js';
import type { DiffHeader, DiffSummary, DiffTotals, DiffVisitor, HeaderRecord } from './records.js';

export interface DiffParserOptions {
  /** Refuse longer snapshot names; 4096 when left out. */
  readonly maxNameBytes?: number;
  readonly expect?: ExpectedHeader;
  /**
   * Allow extents out of order inside one aligned window of this many bytes: the stripe period (stripe
   * count times object size) of a striped image on a Ceph older than 16.2.8. Without it, extents must ascend.
   */
  readonly orderWindowBytes?: bigint;
  readonly visitor?: DiffVisitor;
}

const DEFAULT_MAX_NAME_BYTES = 4096;
/** Bounds an order window's memory to about a MiB; 4 KiB writes to every other block of 512 MiB fit. */
const MAX_WINDOW_RANGES = 65_536;

/**
 * Reads one rbd diff v1 stream as it passes, in chunks cut anywhere, and refuses what `rbd export-diff`
 * would not write. It keeps at most one record header or name and never copies a payload.
 *
 * After a throw from `push`, a visitor's included, the parser is spent: every later call throws the same.
 */
export class DiffParser {
  readonly #expected: ExpectedHeader;
  readonly #order: ExtentOrder;
  readonly #visitor: DiffVisitor;
  readonly #scanner: RecordScanner;
  readonly #headerRecords = new HeaderBuilder();
  #header: DiffHeader | undefined;
  #size = 0;
  #announcedDataBytes = 0;
  #zeroBytes = 0;
  #dataExtents = 0;
  #zeroExtents = 0;
  #failure: { readonly error: unknown } | undefined;

  /** @throws RangeError for an option that is no size */
  constructor(options: DiffParserOptions = {}) {
    const maxNameBytes = options.maxNameBytes ?? DEFAULT_MAX_NAME_BYTES;
    if (!Number.isSafeInteger(maxNameBytes) || maxNameBytes < 1)
      throw new RangeError(`max name bytes "${maxNameBytes}" is no size`);
    this.#expected = options.expect ?? {};
    this.#order = orderFor(options.orderWindowBytes);
    this.#visitor = options.visitor ?? {};
    this.#scanner = this.#createScanner(maxNameBytes);
  }

  /** What the stream said before its first extent; known from the first extent or the end record on. */
  get header(): DiffHeader | undefined {
    return this.#header;
  }

  /** Whether the end record has been read; it is the last byte of a good stream. */
  get ended(): boolean {
    return this.#scanner.ended;
  }

  /** Bytes of the stream read so far. Inside a visitor's call: up to the end of the record or payload piece. */
  get bytesConsumed(): bigint {
    return BigInt(this.#scanner.position);
  }

  /**
   * Position in the stream where the current record, or the last one read, begins. Inside the visitor's
   * `header` this is where the header's records end.
   */
  get recordOffset(): bigint {
    return BigInt(this.#scanner.recordOffset);
  }

  /** Payload bytes of the current data extent that are still to come. */
  get payloadLeft(): bigint {
    return BigInt(this.#scanner.payloadLeft);
  }

  /** What has passed so far; of an extent under way, the payload bytes that have been read. */
  get totals(): DiffTotals {
    return {
      dataBytes: BigInt(this.#announcedDataBytes - this.#scanner.payloadLeft),
      zeroBytes: BigInt(this.#zeroBytes),
      dataExtents: this.#dataExtents,
      zeroExtents: this.#zeroExtents,
    };
  }

  /**
   * Takes the next chunk of the stream, which stays the caller's.
   * @throws DiffError at the first thing that is wrong
   */
  push(chunk: Uint8Array): void {
    this.#rethrowFailure();
    try {
      this.#scanner.scan(chunk);
    } catch (error) {
      this.#failure = { error };
      throw error;
    }
  }

  /**
   * Says that the stream is over.
   * @throws DiffError `truncated` when the end record has not been read
   */
  finish(): DiffSummary {
    this.#rethrowFailure();
    const header = this.#header;
    if (!this.ended || header === undefined)
      throw new DiffError({ kind: 'truncated', inside: this.#scanner.place }, this.bytesConsumed);
    return { header, ...this.totals, streamBytes: this.bytesConsumed };
  }

  #createScanner(maxNameBytes: number): RecordScanner {
    return new RecordScanner(
      {
        name: (record, name) => {
          this.#requireBeforeData(record);
          this.#headerRecords.setName(record, name, this.recordOffset);
        },
        size: (sizeBytes) => {
          this.#requireBeforeData('size');
          this.#headerRecords.setSize(BigInt(sizeBytes), this.recordOffset);
          this.#size = sizeBytes;
        },
        extent: (kind, offset, length) => this.#takeExtent(kind, offset, length),
        payload: (view) => this.#visitor.payload?.(view),
        end: () => {
          this.#completeHeader();
          this.#visitor.end?.();
        },
      },
      maxNameBytes,
    );
  }

  #requireBeforeData(record: HeaderRecord): void {
    if (this.#header !== undefined) this.#fail({ kind: 'record-after-data', record });
  }

  #completeHeader(): void {
    if (this.#header !== undefined) return;
    const header = this.#headerRecords.complete(this.#expected, this.recordOffset);
    this.#header = header;
    this.#visitor.header?.(header);
  }

  #takeExtent(kind: 'data' | 'zero', offset: number, length: number): void {
    this.#completeHeader();
    this.#requireInside(offset, length);
    this.#requireOrder(offset, offset + length);
    if (kind === 'data') {
      this.#dataExtents += 1;
      this.#announcedDataBytes += length;
      this.#visitor.data?.(BigInt(offset), BigInt(length));
    } else {
      this.#zeroExtents += 1;
      this.#zeroBytes += length;
      this.#visitor.zero?.(BigInt(offset), BigInt(length));
    }
  }

  #requireInside(offset: number, length: number): void {
    if (length === 0) this.#fail({ kind: 'empty-extent', extentOffset: BigInt(offset) });
    if (length > this.#size - offset)
      this.#fail({
        kind: 'extent-past-size',
        extentOffset: BigInt(offset),
        extentBytes: BigInt(length),
        sizeBytes: BigInt(this.#size),
      });
  }

  #requireOrder(offset: number, end: number): void {
    const verdict = this.#order.add(offset, end);
    if (verdict === 'accepted') return;
    if (verdict === 'window-too-scattered') this.#fail({ kind: verdict, maxRanges: MAX_WINDOW_RANGES });
    this.#fail({ kind: verdict, extentOffset: BigInt(offset) });
  }

  #fail(problem: DiffProblem): never {
    throw new DiffError(problem, this.recordOffset);
  }

  #rethrowFailure(): void {
    if (this.#failure !== undefined) throw this.#failure.error;
  }
}

function orderFor(orderWindowBytes: bigint | undefined): ExtentOrder {
  if (orderWindowBytes === undefined) return new AscendingOrder();
  const windowBytes = Number(orderWindowBytes);
  if (!Number.isSafeInteger(windowBytes) || windowBytes < 1)
    throw new RangeError(`order window "${orderWindowBytes}" is no size`);
  return new WindowedOrder(windowBytes, MAX_WINDOW_RANGES);
}
