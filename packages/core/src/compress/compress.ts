import type { Lease } from '../transfer/lease.js';
import { mapAhead } from '../transfer/map-ahead.js';
import { cut, type Piece } from '../transfer/piece.js';
import { AutoCompression } from './auto-compression.js';
import type { Zstd } from './zstd.js';
import { frameProblem } from './zstd-frame.js';

export type CompressionMode = 'on' | 'auto';

export interface CompressOptions {
  readonly zstd: Zstd;
  readonly mode: CompressionMode;
  /** The largest piece, since a frame cannot be cut any more. */
  readonly maxContentBytes: number;
}

/** Enough to keep the compressor busy while another piece is sent. */
const piecesAhead = 2;
/** Enough to know, and little to compress: a sixteenth of a piece, 64 KiB of a whole MiB. */
const sampleBytesOf = (content: Uint8Array): number => Math.max(4096, Math.ceil(content.length / 16));
/** Less says nothing of what comes: a stream often begins with its first record's head alone. */
const leastTellingBytes = 1024;
/** What the head of a compressed part takes more than that of a plain one. */
const headBytes = 16;

/** The chunks as pieces in the same order, each compressed by itself where it becomes smaller (and, with `auto`, where it pays). */
export const compressed = (
  chunks: AsyncIterable<Lease>,
  { zstd, mode, maxContentBytes }: CompressOptions,
): AsyncGenerator<Piece, void, undefined> => {
  const auto = mode === 'auto' ? new AutoCompression() : null;
  const compressPiece = async (content: Lease): Promise<Piece> => {
    const { length } = content.bytes;
    const frame = await zstd.compress(content.bytes);
    auto?.compressed(frame.length / length);
    const isWorthIt = frame.length + headBytes < length && frameProblem(frame, length) === null;
    return { content, frame: isWorthIt ? frame : null };
  };
  const decide = async (content: Lease): Promise<Piece> => {
    if (auto !== null && content.bytes.length < leastTellingBytes) return { content, frame: null };
    const decision = auto?.next() ?? 'compress';
    if (decision === 'compress') return compressPiece(content);
    if (decision === 'sample' && auto !== null) {
      const sample = middleOf(content.bytes);
      const isGood = auto.sampled((await zstd.compress(sample)).length / sample.length);
      if (isGood) return compressPiece(content);
    }
    return { content, frame: null };
  };
  return mapAhead(cut(chunks, maxContentBytes), {
    map: decide,
    ahead: piecesAhead,
    onWait: auto === null ? undefined : (ms) => auto.waited(ms),
  });
};

const middleOf = (content: Uint8Array): Uint8Array => {
  const bytes = sampleBytesOf(content);
  const from = Math.max(0, Math.floor((content.length - bytes) / 2));
  return content.subarray(from, from + bytes);
};
