/** zstd frames as RFC 8878 has them, put together by hand so that the test does not believe the product. */

const largestBlock = 128 * 1024;

const blockHead = (kind: 0 | 1, size: number, isLast: boolean): Buffer => {
  const head = Buffer.alloc(3);
  head.writeUIntLE((isLast ? 1 : 0) + kind * 2 + size * 8, 0, 3);
  return head;
};

/** A frame of blocks that each hold so many bytes, and do not say together how many. */
const frame = (bytes: number, block: (at: number, size: number, isLast: boolean) => Buffer[]): Buffer => {
  // Magic number; no size, no checksum, no dictionary; a window of 128 KiB.
  const parts: Buffer[] = [Buffer.from('28b52ffd0038', 'hex')];
  let at = 0;
  do {
    const size = Math.min(largestBlock, bytes - at);
    parts.push(...block(at, size, at + size === bytes));
    at += size;
  } while (at < bytes);
  return Buffer.concat(parts);
};

/** The content in a frame of blocks that hold it as it is. */
export const stored = (content: Buffer): Buffer =>
  frame(content.length, (at, size, isLast) => [blockHead(0, size, isLast), content.subarray(at, at + size)]);

/** So many zeroes, in four bytes for each 128 KiB. */
export const zeroes = (bytes: number): Buffer =>
  frame(bytes, (_, size, isLast) => [blockHead(1, size, isLast), Buffer.of(0)]);
