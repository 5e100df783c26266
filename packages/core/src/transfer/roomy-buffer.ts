import { roomBeforeChunk } from '../diff/zero-cutter.js';

/**
 * Buffers with a little room before their content, where that is written which is put before it: what the chunk before left over,
 * and the heads of the wire. A message and its frame are then the buffer itself, without another copy of a MiB. They are used again
 * and again.
 */

/** gRPC's frame head (5 bytes), and tag byte and length (of up to 4 GiB) of the data message in it (6). */
const wireHeadBytes = 11;
const roomBytes = wireHeadBytes + roomBeforeChunk;

/** Only the room of these may be written to: a view may as well begin in the middle of somebody's data. */
const roomy = new WeakSet<ArrayBufferLike>();

/**
 * Buffers that were given back, the latest last: it is the one that may still be in a cache. V8 collects garbage by how much was
 * allocated outside its heap, and a full collection for every 16 MiB that went through cost more than a third of a transfer's CPU;
 * where memory is new, each of its pages costs a fault besides. As many as a window holds messages when nobody takes them.
 */
const spare: ArrayBufferLike[] = [];
const maxSpare = 24;

/** Smaller content is not worth keeping a buffer for. */
const leastBytes = 64 * 1024;

/** Content of up to twice the size shares buffers: messages are of any size, as the child's output came. */
const capacityFor = (sizeBytes: number): number =>
  sizeBytes <= leastBytes ? sizeBytes : 2 ** Math.ceil(Math.log2(sizeBytes));

const takeSpare = (capacityBytes: number): ArrayBufferLike | undefined => {
  const at = spare.findLastIndex((buffer) => buffer.byteLength === roomBytes + capacityBytes);
  return at < 0 ? undefined : spare.splice(at, 1)[0];
};

const make = (capacityBytes: number): ArrayBufferLike => {
  const { buffer } = Buffer.allocUnsafeSlow(roomBytes + capacityBytes);
  roomy.add(buffer);
  return buffer;
};

const allocate = (sizeBytes: number): ArrayBufferLike => {
  const capacityBytes = capacityFor(sizeBytes);
  return takeSpare(capacityBytes) ?? make(capacityBytes);
};

/** A buffer for `sizeBytes` of content with room before it. Whoever gets it may keep it, or give it back. */
export const allocateRoomy = (sizeBytes: number): Buffer => Buffer.from(allocate(sizeBytes), roomBytes, sizeBytes);

/** A buffer for `sizeBytes` that are content and the heads before it, as they come over the wire. Can be given back as well. */
export const allocateFramed = (sizeBytes: number): Buffer =>
  Buffer.from(allocate(Math.max(0, sizeBytes - roomBytes)), 0, sizeBytes);

const poison = 0x5a;
let isPoisoned = false;

/** For tests: from now on what is given back is overwritten at once, so that whoever looks at it all the same reads nonsense. */
export const poisonReleased = (): void => {
  isPoisoned = true;
};

/**
 * Gives the whole buffer back, of which this is a part, for the next one who needs one. Nobody may look at any part of it any more;
 * a buffer of another kind is ignored.
 */
export const releaseRoomy = (content: Uint8Array): void => {
  const { buffer } = content;
  if (isPoisoned && roomy.has(buffer)) new Uint8Array(buffer).fill(poison);
  const isWorthIt = buffer.byteLength > roomBytes + leastBytes;
  if (!isWorthIt || !roomy.has(buffer) || spare.includes(buffer)) return;
  spare.push(buffer);
  // What has not been asked for longest goes, or sizes of a while ago would keep their places.
  if (spare.length > maxSpare) spare.shift();
};

/** The content together with `headBytes` of the room before it, or undefined when it has not so much. */
export const withRoom = (content: Uint8Array, headBytes: number): Buffer | undefined =>
  content.byteOffset <= roomBytes && content.byteOffset >= headBytes && roomy.has(content.buffer)
    ? Buffer.from(content.buffer, content.byteOffset - headBytes, headBytes + content.length)
    : undefined;
