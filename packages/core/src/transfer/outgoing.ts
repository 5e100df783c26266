import { compressed, type CompressionMode } from '../compress/compress.js';
import type { Zstd } from '../compress/zstd.js';
import { cutZeros } from './cut-zeros.js';
import type { Lease } from './lease.js';
import { paced } from './paced.js';
import { asPieces, type Piece } from './piece.js';
import type { StageMeter } from './stage-meter.js';
import type { TokenBucket } from './token-bucket.js';

export interface OutgoingOptions {
  /** Null to send everything as it is. */
  readonly compression: { readonly zstd: Zstd; readonly mode: CompressionMode } | null;
  /** Limits, all of which hold; waiting for them is no stall. */
  readonly buckets: readonly TokenBucket[];
  /** The largest piece to send as it is, and the largest to compress. */
  readonly maxDataBytes?: number | undefined;
  readonly maxContentBytes?: number | undefined;
  readonly signal: AbortSignal;
  readonly meter: Pick<StageMeter, 'limiting'>;
}

/** A diff stream as it goes out: without the zeros in its data, compressed piece by piece, and no faster than it may. */
export const outgoing = (chunks: AsyncIterable<Lease>, options: OutgoingOptions): AsyncIterable<Piece> => {
  const { compression, buckets, signal, meter, maxDataBytes, maxContentBytes = Infinity } = options;
  const sparse = cutZeros(chunks);
  const pieces = compression === null ? asPieces(sparse) : compressed(sparse, { ...compression, maxContentBytes });
  return paced(pieces, buckets, { signal, meter, maxSliceBytes: maxDataBytes });
};
