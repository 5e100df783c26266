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
