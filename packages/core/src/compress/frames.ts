/** For tests of this folder: zstd frames put together by hand (RFC 8878). */

const block = (kind: number, size: number, which: 'more' | 'last', body: Buffer): Buffer => {
  const head = Buffer.alloc(3);
  head.writeUIntLE((which === 'last' ? 1 : 0) | (kind << 1) | (size << 3), 0, 3);
  return Buffer.concat([head, body]);
};

export const rawBlock = (content: Buffer, which: 'more' | 'last'): Buffer => block(0, content.length, which, content);

/** A zero so many times. */
export const rleBlock = (times: number, which: 'more' | 'last'): Buffer => block(1, times, which, Buffer.alloc(1));

export interface FrameFacts {
  /** The size that its head says; none when left out. */
  readonly declared?: number | bigint;
  readonly checksum?: boolean;
  readonly dictionary?: boolean;
  readonly reserved?: boolean;
  /** The window's byte. */
  readonly window?: number;
}

export const frameOf = (blocks: readonly Buffer[], facts: FrameFacts = {}): Buffer => {
  const { declared, checksum = false, dictionary = false, reserved = false, window = 7 << 3 } = facts;
  const flags =
    (declared === undefined ? 0 : 0b1100_0000) |
    (checksum ? 0b100 : 0) |
    (dictionary ? 1 : 0) |
    (reserved ? 0b1000 : 0);
  const size = Buffer.alloc(declared === undefined ? 0 : 8);
  if (declared !== undefined) size.writeBigUInt64LE(BigInt(declared));
  const head = Buffer.concat([
    Buffer.from('28b52ffd', 'hex'),
    Buffer.from([flags, window]),
    Buffer.from(dictionary ? [7] : []),
    size,
  ]);
  return Buffer.concat([head, ...blocks, Buffer.alloc(checksum ? 4 : 0)]);
};

/** A few KiB that become this many zeroes. */
export const bombFrame = (bytes: number, declared?: number): Buffer => {
  const most = 128 * 1024;
  const blocks = Array.from({ length: bytes / most }, (_, index) =>
    rleBlock(most, (index + 1) * most === bytes ? 'last' : 'more'),
  );
  return frameOf(blocks, declared === undefined ? {} : { declared });
};
