import { DiffError } from './diff-error.js';
import type { DiffHeader, HeaderRecord } from './records.js';

/** What the reader knows about a stream beforehand; what is left out is not checked. */
export interface ExpectedHeader {
  /** null: the diff must be a full one. */
  readonly fromSnap?: string | null;
  readonly toSnap?: string;
  readonly sizeBytes?: bigint;
}

/**
 * Gathers the header records, each at most once and in any order. `offset` is a stream position, for errors.
 */
export class HeaderBuilder {
  readonly #seen = new Set<HeaderRecord>();
  #fromSnap: string | null = null;
  #toSnap: string | null = null;
  #sizeBytes = 0n;

  /** @throws DiffError `duplicate-record` */
  setName(record: 'from-snap' | 'to-snap', name: string, offset: bigint): void {
    this.#requireFirst(record, offset);
    if (record === 'from-snap') this.#fromSnap = name;
    else this.#toSnap = name;
  }

  /** @throws DiffError `duplicate-record` */
  setSize(sizeBytes: bigint, offset: bigint): void {
    this.#requireFirst('size', offset);
    this.#sizeBytes = sizeBytes;
  }

  /** @throws DiffError `missing-size`, or `unexpected-…` where the header is not the expected one */
  complete(expected: ExpectedHeader, offset: bigint): DiffHeader {
    if (!this.#seen.has('size')) throw new DiffError({ kind: 'missing-size' }, offset);
    const header: DiffHeader = {
      fromSnap: this.#fromSnap,
      toSnap: this.#toSnap,
      sizeBytes: this.#sizeBytes,
    };
    requireExpected(header, expected, offset);
    return header;
  }

  #requireFirst(record: HeaderRecord, offset: bigint): void {
    if (this.#seen.has(record)) throw new DiffError({ kind: 'duplicate-record', record }, offset);
    this.#seen.add(record);
  }
}

function requireExpected(header: DiffHeader, expected: ExpectedHeader, offset: bigint): void {
  const { fromSnap, toSnap, sizeBytes } = expected;
  if (fromSnap !== undefined && fromSnap !== header.fromSnap)
    throw new DiffError(
      {
        kind: 'unexpected-from-snap',
        expected: fromSnap,
        actual: header.fromSnap,
      },
      offset,
    );
  if (toSnap !== undefined && toSnap !== header.toSnap)
    throw new DiffError({ kind: 'unexpected-to-snap', expected: toSnap, actual: header.toSnap }, offset);
  if (sizeBytes !== undefined && sizeBytes !== header.sizeBytes)
    throw new DiffError(
      {
        kind: 'unexpected-size',
        expected: sizeBytes,
        actual: header.sizeBytes,
      },
      offset,
    );
}
