import { roomBeforeChunk, ZeroCutter } from '../diff/zero-cutter.js';
import { allocateRoomy, withRoom } from './roomy-buffer.js';

/** A diff stream with zero extents in place of the zeros in its data. The chunks are used up: what comes out lies in their buffers. */
export async function* cutZeros(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, undefined> {
  const cutter = new ZeroCutter();
  for await (const chunk of chunks) yield* cutter.push(withRoom(chunk, roomBeforeChunk) ?? copyWithRoom(chunk));
  yield* cutter.finish();
}

const copyWithRoom = (chunk: Uint8Array): Buffer => {
  const buffer = allocateRoomy(roomBeforeChunk + chunk.length);
  buffer.set(chunk, roomBeforeChunk);
  return buffer;
};
