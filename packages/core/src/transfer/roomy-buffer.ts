/**
 * Buffers with a little room before their content, where the encoder of the data message puts its head: the message is then
 * the buffer itself, without another copy of a MiB.
 */

/** Tag byte and length of a message of up to 4 GiB. */
const roomBytes = 6;

/** Only the room of these may be written to: a view may as well begin in the middle of somebody's data. */
const roomy = new WeakSet<ArrayBufferLike>();

/**
 * Buffers that were given back. V8 collects garbage by how much was allocated outside its heap, and a full collection for every 16
 * MiB that went through cost more than a third of a transfer's CPU.
 */
const spare: ArrayBufferLike[] = [];
const maxSpare = 16;

/** A buffer for `sizeBytes` of content with room before it. Whoever gets it may keep it, or give it back. */
export const allocateRoomy = (sizeBytes: number): Buffer => {
  const at = spare.findIndex((buffer) => buffer.byteLength === roomBytes + sizeBytes);
  const [again] = at < 0 ? [] : spare.splice(at, 1);
  if (again !== undefined) return Buffer.from(again, roomBytes);
  const whole = Buffer.allocUnsafeSlow(roomBytes + sizeBytes);
  roomy.add(whole.buffer);
  return whole.subarray(roomBytes);
};

/** Gives a buffer back for the next {@link allocateRoomy}. Nobody may look at it any more; one of another kind is ignored. */
export const releaseRoomy = (content: Uint8Array): void => {
  const { buffer } = content;
  if (spare.length < maxSpare && roomy.has(buffer) && !spare.includes(buffer)) spare.push(buffer);
};

/** The content together with the last `headBytes` of its room, or undefined when it has none. */
export const withRoom = (content: Uint8Array, headBytes: number): Buffer | undefined =>
  content.byteOffset === roomBytes && headBytes <= roomBytes && roomy.has(content.buffer)
    ? Buffer.from(content.buffer, roomBytes - headBytes, headBytes + content.length)
    : undefined;
