/**
 * The vocabulary of the rbd diff v1 stream: a banner, then records of one tag byte and a body,
 * integers little-endian.
 *
 * Source: Ceph's doc/dev/rbd-diff.rst, and the output of `rbd export-diff` from Ceph 16.2.15.
 */

/** The twelve bytes every stream begins with. */
export const BANNER = 'rbd diff v1\n';

/** The tag byte of each record. */
export const TAG = {
  fromSnap: 0x66, // f: le32 length, name
  toSnap: 0x74, // t: le32 length, name
  size: 0x73, // s: le64 bytes
  data: 0x77, // w: le64 offset, le64 length, payload
  zero: 0x7a, // z: le64 offset, le64 length
  end: 0x65, // e: nothing
} as const;

/** The records that may each occur once, and only before the first extent. */
export type HeaderRecord = 'from-snap' | 'to-snap' | 'size';

/** What a stream says about itself before its first extent. */
export interface DiffHeader {
  /** The snapshot the diff starts from; null in a full diff. */
  readonly fromSnap: string | null;
  /** The snapshot the diff leads to; null when an image's head was exported. */
  readonly toSnap: string | null;
  /** The size of the image at `toSnap`, in bytes. It may be smaller or larger than it was at `fromSnap`. */
  readonly sizeBytes: bigint;
}

/** How much a stream has carried. */
export interface DiffTotals {
  /** Payload bytes of data extents. */
  readonly dataBytes: bigint;
  /** Bytes covered by zero extents; they carry no payload. */
  readonly zeroBytes: bigint;
  readonly dataExtents: number;
  readonly zeroExtents: number;
}

/** A stream that was read to its end record. */
export interface DiffSummary extends DiffTotals {
  readonly header: DiffHeader;
  /** The length of the whole stream, banner and end record included. */
  readonly streamBytes: bigint;
}

/**
 * Told of each record as it passes; every method is optional. Offsets and lengths are bytes in the image.
 * Calls come in stream order and synchronously from `DiffParser.push`.
 */
export interface DiffVisitor {
  /** Once, when the first extent or the end record shows that the header is complete. */
  header?(header: DiffHeader): void;
  /** A data extent begins; its payload follows in `payload` calls. */
  data?(offset: bigint, length: bigint): void;
  /** The next piece of the current extent's payload: a view into the pushed chunk, valid only during the call. */
  payload?(view: Uint8Array): void;
  zero?(offset: bigint, length: bigint): void;
  /** The end record. */
  end?(): void;
}
