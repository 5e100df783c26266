import { createHash } from 'node:crypto';
import type { CompressionMode } from '@rbdferry/core/compress/compress.js';
import type { Zstd } from '@rbdferry/core/compress/zstd.js';
import { Compression, type PullRequest, type PullResponse } from '@rbdferry/core/gen/rbdferry/v1/transfer.js';
import { constantRate } from '@rbdferry/core/model/rate-limit.js';
import { outgoing, type OutgoingOptions } from '@rbdferry/core/transfer/outgoing.js';
import type { Piece } from '@rbdferry/core/transfer/piece.js';
import { watchStall } from '@rbdferry/core/transfer/stall.js';
import { TokenBucket } from '@rbdferry/core/transfer/token-bucket.js';
import { backupToWire } from '@rbdferry/core/wire/convert.js';
import type { OpenedPull } from '../store/port.js';

/** What the client asked for, besides the backup. */
type PullWishes = Omit<PullRequest, 'backupId'>;

export interface SendPullOptions {
  readonly stallMs: number;
  readonly zstd: Zstd | null;
  readonly signal: AbortSignal;
}

/** The messages of one pull: header, data, and a trailer only when the store's stream ended well. */
export async function* sendPull(
  pull: OpenedPull,
  wishes: PullWishes,
  { stallMs, zstd, signal }: SendPullOptions,
): AsyncGenerator<PullResponse, void, undefined> {
  try {
    yield { part: { $case: 'header', value: backupToWire(pull.backup) } };
    const hash = createHash('sha256');
    let bytes = 0n;
    const chunks = watchStall(pull.stream, stallMs, 'rbd export-diff sent no data');
    for await (const piece of outgoing(chunks, { ...asWished(wishes, zstd), signal })) {
      hash.update(piece.content);
      bytes += BigInt(piece.content.length);
      yield { part: partOf(piece) };
    }
    yield { part: { $case: 'trailer', value: { streamBytes: bytes, streamSha256: hash.digest() } } };
  } finally {
    pull.close();
  }
}

const partOf = ({ content, frame }: Piece): PullResponse['part'] =>
  frame === null
    ? { $case: 'data', value: Buffer.from(content.buffer, content.byteOffset, content.length) }
    : { $case: 'zstd', value: { frame, contentBytes: content.length } };

/** Smaller messages than these would be work for nothing. */
const smallestSliceBytes = 256;

const asWished = (
  { limitBytesPerSecond, maxDataBytes, compression }: PullWishes,
  zstd: Zstd | null,
): Omit<OutgoingOptions, 'signal'> => {
  const mode = modeOf(compression);
  const slice = maxDataBytes === 0 ? undefined : Math.max(smallestSliceBytes, maxDataBytes);
  return {
    buckets: limitBytesPerSecond === 0n ? [] : [new TokenBucket(constantRate(Number(limitBytesPerSecond)))],
    maxDataBytes: slice,
    // A frame cannot be cut, but it comes to less than its content.
    maxContentBytes: slice === undefined ? undefined : 2 * slice,
    compression: zstd === null || mode === null ? null : { zstd, mode },
  };
};

const modeOf = (compression: Compression): CompressionMode | null => {
  if (compression === Compression.ON) return 'on';
  return compression === Compression.AUTO ? 'auto' : null;
};
