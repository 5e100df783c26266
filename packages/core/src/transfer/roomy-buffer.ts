/**
 * Buffers with a little room before their content, where the encoder of the data message puts its head: the message is then
 * the buffer itself, without another copy of a MiB.
 */

/** Tag byte and length of a message of up to 4 GiB. */
const roomBytes = 6;

/** Only the room of these may be written to: a view may as well begin in the middle of somebody's data. */
const roomy = new WeakSet<ArrayBufferLike>();

/** A buffer for `sizeBytes` of content with room before it. Never from a pool: whoever gets it may keep it. */
export const allocateRoomy = (sizeBytes: number): Buffer => {
  const whole = Buffer.allocUnsafeSlow(roomBytes + sizeBytes);
  roomy.add(whole.buffer);
  return whole.subarray(roomBytes);
};

/** The content together with the last `headBytes` of its room, or undefined when it has none. */
export const withRoom = (content: Uint8Array, headBytes: number): Buffer | undefined =>
  content.byteOffset === roomBytes && headBytes <= roomBytes && roomy.has(content.buffer)
    ? Buffer.from(content.buffer, roomBytes - headBytes, headBytes + content.length)
    : undefined;
