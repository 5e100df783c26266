import { createHash } from 'node:crypto';
import type { PullRequest, PullResponse } from '@rbdferry/core/gen/rbdferry/v1/transfer.js';
import { constantRate } from '@rbdferry/core/model/rate-limit.js';
import { paced } from '@rbdferry/core/transfer/paced.js';
import { asPieces } from '@rbdferry/core/transfer/piece.js';
import { watchStall } from '@rbdferry/core/transfer/stall.js';
import { TokenBucket } from '@rbdferry/core/transfer/token-bucket.js';
import { backupToWire } from '@rbdferry/core/wire/convert.js';
import type { OpenedPull } from '../store/port.js';

/** What the client asked for. */
type PullWishes = Pick<PullRequest, 'limitBytesPerSecond' | 'maxDataBytes'>;

/** The messages of one pull: header, data, and a trailer only when the store's stream ended well. */
export async function* sendPull(
  pull: OpenedPull,
  wishes: PullWishes,
  { stallMs, signal }: { readonly stallMs: number; readonly signal: AbortSignal },
): AsyncGenerator<PullResponse, void, undefined> {
  try {
    yield { part: { $case: 'header', value: backupToWire(pull.backup) } };
    const hash = createHash('sha256');
    let bytes = 0n;
    const chunks = watchStall(pull.stream, stallMs, 'rbd export-diff sent no data');
    for await (const { content: data } of paced(asPieces(chunks), bucketsFor(wishes), {
      signal,
      maxSliceBytes: sliceFor(wishes),
    })) {
      hash.update(data);
      bytes += BigInt(data.length);
      yield { part: { $case: 'data', value: Buffer.from(data.buffer, data.byteOffset, data.length) } };
    }
    yield { part: { $case: 'trailer', value: { streamBytes: bytes, streamSha256: hash.digest() } } };
  } finally {
    pull.close();
  }
}

const bucketsFor = ({ limitBytesPerSecond }: PullWishes): TokenBucket[] =>
  limitBytesPerSecond === 0n ? [] : [new TokenBucket(constantRate(Number(limitBytesPerSecond)))];

/** Smaller messages than these would be work for nothing. */
const smallestSliceBytes = 256;

const sliceFor = ({ maxDataBytes }: PullWishes): number | undefined =>
  maxDataBytes === 0 ? undefined : Math.max(smallestSliceBytes, maxDataBytes);
