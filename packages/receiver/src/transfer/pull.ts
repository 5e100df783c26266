import { setTimeout as sleep } from 'node:timers/promises';
import { estimateAfterMs } from '@rbdferry/core/ceph/diff-extents.js';
import type { CompressionMode } from '@rbdferry/core/compress/compress.js';
import type { Zstd } from '@rbdferry/core/compress/zstd.js';
import { StreamDigest } from '@rbdferry/core/transfer/stream-digest.js';
import { Compression, type PullRequest, type PullResponse } from '@rbdferry/core/gen/rbdferry/v1/transfer.js';
import { constantRate } from '@rbdferry/core/model/rate-limit.js';
import { outgoing, type OutgoingOptions } from '@rbdferry/core/transfer/outgoing.js';
import type { Piece } from '@rbdferry/core/transfer/piece.js';
import { releaseRoomy } from '@rbdferry/core/transfer/roomy-buffer.js';
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
  const total = new Total(pull);
  try {
    yield { part: { $case: 'header', value: backupToWire(pull.backup) } };
    const digest = new StreamDigest();
    let bytes = 0n;
    const chunks = watchStall(pull.stream, { ms: stallMs, what: 'rbd export-diff sent no data', life });
    for await (const piece of outgoing(meter.arriving(chunks), { ...asWished(wishes, zstd), signal, meter })) {
      digest.update(piece.content);
      bytes += BigInt(piece.content.length);
      meter.passed(piece.content.length);
      // Only its frame is still to be sent.
      if (piece.frame !== null) releaseRoomy(piece.content);
      yield { part: partOf(piece) };
      const estimate = total.take();
      if (estimate !== null) yield { part: { $case: 'estimatedBytes', value: estimate } };
    }
    const end = { streamBytes: bytes, streamGmac: digest.digest(), waits: waitsToWire(meter.waits) };
    yield { part: { $case: 'trailer', value: end } };
  } finally {
    await total.close();
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

/** How much there will be, found out beside the transfer. */
class Total {
  readonly #ending = new AbortController();
  readonly #finding: Promise<void>;
  #bytes: bigint | null = null;

  constructor(pull: OpenedPull) {
    this.#finding = this.#find(pull);
  }

  /** The total, once, when it is known. */
  take(): bigint | null {
    const bytes = this.#bytes;
    this.#bytes = null;
    return bytes;
  }

  async close(): Promise<void> {
    this.#ending.abort();
    await this.#finding;
  }

  async #find(pull: OpenedPull): Promise<void> {
    const { signal } = this.#ending;
    try {
      await sleep(estimateAfterMs, undefined, { signal });
      this.#bytes = await pull.estimate({ signal });
    } catch {
      // The transfer has ended, or will tell what is wrong. Without an answer the total stays unknown.
    }
  }
}
