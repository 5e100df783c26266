/**
 * Looks at a zstd frame without decoding it (RFC 8878, section 3.1.1). A frame says little of what it becomes: the size in its
 * head is optional and may be a lie, and 16 KiB can become 512 MiB. But no block holds more than 128 KiB, so the blocks bound it.
 */

/** Of one part of a stream; well above the 1 MiB that we send. */
export const maxContentBytes = 4 * 1024 * 1024;
/** What the decoder may set aside before the first byte. */
const maxWindowBytes = 8 * 1024 * 1024;
/** What may come out at most. Encoders may end blocks early, so this is not the content's size. */
const maxBlockSumBytes = 16 * 1024 * 1024;

const magic = 0xfd2fb528;
const largestBlockBytes = 128 * 1024;

/**
 * What keeps the frame from being decoded safely to so many bytes; null when nothing does. Then the decoder needs no more than
 * {@link maxWindowBytes} and makes no more than {@link maxBlockSumBytes}; whether it makes just the content is still to be seen.
 */
export const frameProblem = (frame: Uint8Array, contentBytes: number): string | null => {
  if (contentBytes > maxContentBytes) return `its content of ${contentBytes} bytes is above ${maxContentBytes}`;
  const bytes = new DataView(frame.buffer, frame.byteOffset, frame.length);
  const head = headOf(bytes);
  if (typeof head === 'string') return head;
  if (head.windowBytes > maxWindowBytes) return `its window of ${head.windowBytes} bytes is above ${maxWindowBytes}`;
  if (head.declaredBytes !== null && head.declaredBytes !== contentBytes) {
    return `it says that it holds ${head.declaredBytes} bytes, and not ${contentBytes}`;
  }
  return blocksProblem(bytes, head, contentBytes);
};

interface FrameHead {
  readonly windowBytes: number;
  /** Null when it does not say. */
  readonly declaredBytes: number | null;
  readonly blocksAt: number;
  readonly checksumBytes: number;
}

const truncated = 'it ends early';

const headOf = (bytes: DataView): FrameHead | string => {
  if (bytes.byteLength < 6) return truncated;
  if (bytes.getUint32(0, true) !== magic) return 'it does not begin as a zstd frame';
  const descriptor = bytes.getUint8(4);
  if ((descriptor & 0b1000) !== 0) return 'it has a reserved bit set';
  if ((descriptor & 0b11) !== 0) return 'it needs a dictionary';
  const isSingle = (descriptor & 0b10_0000) !== 0;
  const sizeAt = isSingle ? 5 : 6;
  const sizeLength = [isSingle ? 1 : 0, 2, 4, 8][descriptor >> 6] ?? 0;
  const blocksAt = sizeAt + sizeLength;
  if (bytes.byteLength < blocksAt) return truncated;
  const declaredBytes = declaredAt(bytes, sizeAt, sizeLength);
  return {
    windowBytes: isSingle ? (declaredBytes ?? 0) : windowOf(bytes.getUint8(5)),
    declaredBytes,
    blocksAt,
    checksumBytes: (descriptor & 0b100) === 0 ? 0 : 4,
  };
};

const windowOf = (descriptor: number): number => {
  const base = 2 ** (10 + (descriptor >> 3));
  return base + (base / 8) * (descriptor & 0b111);
};

const declaredAt = (bytes: DataView, at: number, length: number): number | null => {
  switch (length) {
    case 1:
      return bytes.getUint8(at);
    case 2:
      return bytes.getUint16(at, true) + 256;
    case 4:
      return bytes.getUint32(at, true);
    case 8:
      return Number(bytes.getBigUint64(at, true));
    default:
      return null;
  }
};

const blocksProblem = (bytes: DataView, head: FrameHead, contentBytes: number): string | null => {
  let at = head.blocksAt;
  let most = 0;
  for (let isLast = false; !isLast;) {
    if (at + 3 > bytes.byteLength) return truncated;
    const block = bytes.getUint16(at, true) + bytes.getUint8(at + 2) * 0x1_0000;
    isLast = (block & 1) === 1;
    const kind = (block >> 1) & 0b11;
    const size = block >> 3;
    if (kind === 3) return 'it has a block of an unknown kind';
    if (size > largestBlockBytes) return 'it has a block above 128 KiB';
    // Kinds: 0 as it is, 1 one byte so many times, 2 compressed.
    most += kind === 2 ? largestBlockBytes : size;
    if (most > maxBlockSumBytes) return `it may become more than ${maxBlockSumBytes} bytes`;
    at += 3 + (kind === 1 ? 1 : size);
  }
  if (at + head.checksumBytes > bytes.byteLength) return truncated;
  if (at + head.checksumBytes < bytes.byteLength) return 'it has something behind its end';
  return most < contentBytes ? `it cannot hold ${contentBytes} bytes` : null;
};
