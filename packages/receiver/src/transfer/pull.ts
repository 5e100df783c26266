import type { CompressionMode } from '@rbdferry/core/compress/compress.js';
import type { Zstd } from '@rbdferry/core/compress/zstd.js';
import { StreamDigest } from '@rbdferry/core/transfer/stream-digest.js';
import { Compression, type PullRequest, type PullResponse } from '@rbdferry/core/gen/rbdferry/v1/transfer.js';
import { constantRate } from '@rbdferry/core/model/rate-limit.js';
import { estimateLater } from '@rbdferry/core/transfer/late-estimate.js';
import { outgoing, type OutgoingOptions } from '@rbdferry/core/transfer/outgoing.js';
import type { Piece } from '@rbdferry/core/transfer/piece.js';
import type { StageMeter } from '@rbdferry/core/transfer/stage-meter.js';
import type { Life } from '@rbdferry/core/transfer/life.js';
import { watchStall } from '@rbdferry/core/transfer/stall.js';
import { TokenBucket } from '@rbdferry/core/transfer/token-bucket.js';
import { backupToWire, waitsToWire } from '@rbdferry/core/wire/convert.js';
import type { OpenedPull } from '../store/port.js';

/** What the client asked for, besides the backup. */
type PullWishes = Omit<PullRequest, 'backupId' | 'transferId'>;

export interface SendPullOptions {
  readonly stallMs: number;
  /** Of the rbd that gives the stream. */
  readonly life: Life;
  readonly zstd: Zstd | null;
  readonly meter: StageMeter;
  readonly signal: AbortSignal;
}

/** The messages of one pull: header, data, and a trailer only when the store's stream ended well. */
export async function* sendPull(
  pull: OpenedPull,
  wishes: PullWishes,
  { stallMs, life, zstd, signal, meter }: SendPullOptions,
): AsyncGenerator<PullResponse, void, undefined> {
  let estimate: bigint | null = null;
  const ending = new AbortController();
  const estimating = estimateLater(
    (until) => pull.estimate({ signal: until }),
    (bytes) => {
      estimate = bytes;
    },
    ending.signal,
  );
  try {
    yield { part: { $case: 'header', value: backupToWire(pull.backup) } };
    const digest = new StreamDigest();
    let bytes = 0n;
    const chunks = watchStall(pull.stream, { ms: stallMs, what: 'rbd export-diff sent no data', life });
    for await (const piece of outgoing(meter.arriving(chunks), { ...asWished(wishes, zstd), signal, meter })) {
      const { length } = piece.content.bytes;
      digest.update(piece.content.bytes);
      bytes += BigInt(length);
      meter.passed(length);
      yield { part: partOf(piece) };
      if (estimate === null) continue;
      yield { part: { $case: 'estimatedBytes', value: estimate } };
      estimate = null;
    }
    const end = { streamBytes: bytes, streamGmac: digest.digest(), waits: waitsToWire(meter.waits) };
    yield { part: { $case: 'trailer', value: end } };
  } finally {
    ending.abort();
    await estimating;
    pull.close();
  }
}

/** The piece becomes the message's; what the data lies in is claimed when the message has been sent. */
const partOf = ({ content, frame }: Piece): PullResponse['part'] => {
  if (frame === null) return { $case: 'data', value: content.bytesForMessage };
  const contentBytes = content.bytes.length;
  content.release();
  return { $case: 'zstd', value: { frame, contentBytes } };
};

/** Smaller messages than these would be work for nothing. */
const smallestSliceBytes = 256;

const asWished = (
  { limitBytesPerSecond, maxDataBytes, compression }: PullWishes,
  zstd: Zstd | null,
): Omit<OutgoingOptions, 'signal' | 'meter'> => {
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
