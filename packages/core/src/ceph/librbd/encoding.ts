import type { Pair } from './protocol.js';

/** Ceph's own encoding of what a class method takes and gives: little-endian sizes before what they count. */

/** What `rbd.metadata_list` takes: list the keys after this one, so many. */
export const encodeMetadataAsk = (after: Uint8Array, max: number): Buffer => {
  const ask = Buffer.alloc(4 + after.length + 8);
  ask.writeUInt32LE(after.length, 0);
  ask.set(after, 4);
  ask.writeBigUInt64LE(BigInt(max), 4 + after.length);
  return ask;
};

/** A map of bytes to bytes. @throws RangeError when it is cut off */
export const decodePairs = (answer: Buffer): Pair[] => {
  let at = 0;
  const size = (): number => {
    at += 4;
    return answer.readUInt32LE(at - 4);
  };
  const bytes = (): Uint8Array => {
    const length = size();
    if (at + length > answer.length) throw new RangeError('the answer of rbd.metadata_list is cut off');
    at += length;
    // A copy: the answer's buffer is much larger.
    return Uint8Array.prototype.slice.call(answer, at - length, at);
  };
  return Array.from({ length: size() }, (): Pair => [bytes(), bytes()]);
};
