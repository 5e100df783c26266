import { BANNER, TAG, type DiffHeader } from './records.js';

const UTF8 = new TextEncoder();
const MAX_UINT32 = 0xffff_ffff;
const MAX_UINT64 = 0xffff_ffff_ffff_ffffn;

/** The banner, which every stream begins with. */
export function encodeBanner(): Uint8Array {
  return UTF8.encode(BANNER);
}

/** The `f` record: the snapshot an increment starts from. */
export function encodeFromSnap(name: string): Uint8Array {
  return encodeName(TAG.fromSnap, name);
}

/** The `t` record: the snapshot the diff leads to. */
export function encodeToSnap(name: string): Uint8Array {
  return encodeName(TAG.toSnap, name);
}

/** The `s` record: the image's size. */
export function encodeSize(sizeBytes: bigint): Uint8Array {
  return encodeIntegers(TAG.size, sizeBytes);
}

/** The banner and all header records, in the order in which `rbd export-diff` writes them. */
export function encodeHeader(header: DiffHeader): Uint8Array {
  const parts = [encodeBanner()];
  if (header.fromSnap !== null) parts.push(encodeFromSnap(header.fromSnap));
  if (header.toSnap !== null) parts.push(encodeToSnap(header.toSnap));
  parts.push(encodeSize(header.sizeBytes));
  return concatenate(parts);
}

/** The `w` record up to its payload, which is the caller's to send: exactly `length` bytes. */
export function encodeDataHeader(offset: bigint, length: bigint): Uint8Array {
  return encodeIntegers(TAG.data, offset, length);
}

/** The `z` record: an extent that reads as zeroes. */
export function encodeZero(offset: bigint, length: bigint): Uint8Array {
  return encodeIntegers(TAG.zero, offset, length);
}

/** The `e` record, the last byte of every stream. */
export function encodeEnd(): Uint8Array {
  return Uint8Array.of(TAG.end);
}

function encodeName(tag: number, name: string): Uint8Array {
  const bytes = UTF8.encode(name);
  if (bytes.length === 0 || bytes.length > MAX_UINT32)
    throw new RangeError(`snapshot name "${name}" does not fit in a record`);
  const record = new Uint8Array(5 + bytes.length);
  const view = new DataView(record.buffer);
  view.setUint8(0, tag);
  view.setUint32(1, bytes.length, true);
  record.set(bytes, 5);
  return record;
}

function encodeIntegers(tag: number, ...values: bigint[]): Uint8Array {
  const record = new Uint8Array(1 + 8 * values.length);
  const view = new DataView(record.buffer);
  view.setUint8(0, tag);
  values.forEach((value, index) => {
    if (value < 0n || value > MAX_UINT64) throw new RangeError(`"${value}" does not fit in a record`);
    view.setBigUint64(1 + 8 * index, value, true);
  });
  return record;
}

function concatenate(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((bytes, part) => bytes + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
