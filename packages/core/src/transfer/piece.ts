import { Lease } from './lease.js';

/** A part of the diff stream as it goes over the wire: as it is, or as one zstd frame. */
export interface Piece {
  readonly content: Lease;
  /** Null when the content itself is sent. */
  readonly frame: Buffer | null;
}

/** Bytes that are sent for it. */
export const wireBytesOf = ({ content, frame }: Piece): number => (frame ?? content.bytes).length;

export async function* asPieces(chunks: AsyncIterable<Lease>): AsyncGenerator<Piece, void, undefined> {
  for await (const content of chunks) yield { content, frame: null };
}

/** The same content in chunks of at most so many bytes. A part of a chunk is a copy: a lease is given back as a whole. */
export async function* cut(chunks: AsyncIterable<Lease>, maxBytes: number): AsyncGenerator<Lease, void, undefined> {
  for await (const chunk of chunks) {
    const { bytes } = chunk;
    if (bytes.length <= maxBytes) yield chunk;
    else {
      for (let at = 0; at < bytes.length; at += maxBytes)
        yield Lease.of(Buffer.from(bytes.subarray(at, at + maxBytes)));
      chunk.release();
    }
  }
}
