import { createCipheriv, createHash } from 'node:crypto';

/** rbd diff v1 as Ceph's documentation has it, written here once more so that the test does not believe the product. */

const number = (value: bigint | number, bytes: 4 | 8): Buffer => {
  const out = Buffer.alloc(8);
  out.writeBigUInt64LE(BigInt(value));
  return out.subarray(0, bytes);
};

const name = (tag: string, text: string): Buffer =>
  Buffer.concat([Buffer.from(tag), number(Buffer.byteLength(text), 4), Buffer.from(text)]);

const extent = (tag: string, offset: bigint | number, length: bigint | number): Buffer =>
  Buffer.concat([Buffer.from(tag), number(offset, 8), number(length, 8)]);

export const banner = Buffer.from('rbd diff v1\n');
export const fromSnap = (text: string): Buffer => name('f', text);
export const toSnap = (text: string): Buffer => name('t', text);
export const size = (bytes: bigint | number): Buffer => Buffer.concat([Buffer.from('s'), number(bytes, 8)]);
/** The header of a data extent only: what follows need not be there. */
export const dataHeader = (offset: bigint | number, length: bigint | number): Buffer => extent('w', offset, length);
export const data = (offset: number, bytes: Buffer): Buffer => Buffer.concat([dataHeader(offset, bytes.length), bytes]);
export const zero = (offset: bigint | number, length: bigint | number): Buffer => extent('z', offset, length);
export const end = Buffer.from('e');

/** AES-128-GMAC with a key and an IV of zeros: the digest of a stream. */
export const gmac = (bytes: Buffer): Buffer => {
  const cipher = createCipheriv('aes-128-gcm', Buffer.alloc(16), Buffer.alloc(12)).setAAD(bytes);
  cipher.final();
  return cipher.getAuthTag();
};

export const sha256 = (bytes: Buffer): Buffer => createHash('sha256').update(bytes).digest();

/** The content that a whole stream makes of an image. @throws when the stream is not one */
export const apply = (stream: Buffer, image: Buffer): Buffer => {
  let at = 0;
  const take = (length: number): Buffer => {
    if (at + length > stream.length) throw new Error('the stream ends early');
    at += length;
    return stream.subarray(at - length, at);
  };
  const big = (): number => Number(take(8).readBigUInt64LE());
  if (!take(banner.length).equals(banner)) throw new Error('no banner');
  let content = image;
  for (;;) {
    const tag = take(1).toString('latin1');
    if (tag === 'e') break;
    else if (tag === 'f' || tag === 't') take(take(4).readUInt32LE());
    else if (tag === 's') {
      const resized = Buffer.alloc(big());
      content.copy(resized);
      content = resized;
    } else if (tag === 'w') {
      const offset = big();
      take(big()).copy(content, offset);
    } else if (tag === 'z') {
      const offset = big();
      content.fill(0, offset, offset + big());
    } else throw new Error(`unknown tag ${tag}`);
  }
  if (at !== stream.length) throw new Error('bytes behind the end');
  return content;
};
