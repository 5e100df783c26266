import { releaseRoomy } from './roomy-buffer.js';

/** A part of the diff stream as it goes over the wire: as it is, or as one zstd frame. */
export interface Piece {
  readonly content: Uint8Array;
  /** Null when the content itself is sent. */
  readonly frame: Buffer | null;
}

/** Bytes that are sent for it. */
export const wireBytesOf = ({ content, frame }: Piece): number => (frame ?? content).length;

export async function* asPieces(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Piece, void, undefined> {
  for await (const content of chunks) yield { content, frame: null };
}

/**
 * The same content in chunks of at most so many bytes. A part of a chunk is a copy: a recycled buffer must not be given back
 * with one part while others are still to be sent.
 */
export async function* cut(
  chunks: AsyncIterable<Uint8Array>,
  maxBytes: number,
): AsyncGenerator<Uint8Array, void, undefined> {
  for await (const chunk of chunks) {
    if (chunk.length <= maxBytes) yield chunk;
    else {
      for (let at = 0; at < chunk.length; at += maxBytes) yield Buffer.from(chunk.subarray(at, at + maxBytes));
      releaseRoomy(chunk);
    }
  }
}
