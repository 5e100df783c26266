import { roomBeforeChunk, ZeroCutter } from '../diff/zero-cutter.js';
import { Lease } from './lease.js';

/** A diff stream with zero extents in place of the zeros in its data. What comes out lies in the chunks' own buffers. */
export async function* cutZeros(chunks: AsyncIterable<Lease>): AsyncGenerator<Lease, void, undefined> {
  const cutter = new ZeroCutter();
  const held = new HeldLeases();
  for await (const chunk of chunks) {
    const done = cutter.push(held.add(chunk));
    for (const view of done) yield held.take(view);
    held.releaseAllBut(cutter.held);
  }
  for (const view of cutter.finish()) yield held.take(view);
}

/** The leases of buffers that the cutter has. At most one view of each comes out. */
class HeldLeases {
  readonly #byBuffer = new Map<ArrayBufferLike, Lease>();

  /** Answers the chunk with room before it. */
  add(chunk: Lease): Buffer {
    const inPlace = chunk.withRoom(roomBeforeChunk);
    if (inPlace !== undefined) return this.#keep(chunk, inPlace);
    const { bytes } = chunk;
    const copy = Lease.take(roomBeforeChunk + bytes.length);
    copy.bytes.set(bytes, roomBeforeChunk);
    chunk.release();
    return this.#keep(copy, copy.bytes);
  }

  take(view: Buffer): Lease {
    const lease = this.#byBuffer.get(view.buffer);
    // What the cutter made itself: at the end, and where a record has no room for a head.
    if (lease === undefined) return Lease.of(view);
    this.#byBuffer.delete(view.buffer);
    return lease.narrow(view);
  }

  /** Of the other buffers nothing comes out: all that they held were zeros, or is kept elsewhere. */
  releaseAllBut(views: readonly Buffer[]): void {
    const kept = new Set(views.map(({ buffer }) => buffer));
    for (const [buffer, lease] of this.#byBuffer) {
      if (kept.has(buffer)) continue;
      this.#byBuffer.delete(buffer);
      lease.release();
    }
  }

  #keep(lease: Lease, withRoom: Buffer): Buffer {
    this.#byBuffer.set(withRoom.buffer, lease);
    return withRoom;
  }
}
