import { setTimeout } from 'node:timers/promises';
import { abortReason } from '../errors/ferry-error.js';
import { stricter, type Rate } from '../model/rate-limit.js';
import { Lease } from './lease.js';
import { wireBytesOf, type Piece } from './piece.js';
import type { StageMeter } from './stage-meter.js';
import type { TokenBucket } from './token-bucket.js';

/** The largest slice is a whole chunk of a source. */
const maxSliceBytes = 1024 * 1024;
const minSliceBytes = 256;
const slicesPerSecond = 16;
/** A timer is no more exact than that. What is not waited for now is waited for with the next slice. */
const leastWaitMs = 2;

/**
 * The largest piece to send at once at this rate: a sixteenth of a second's worth, so that the far side always sees something
 * coming, and the messages that grpc-js queues are no more than a fraction of a second's.
 */
export const sliceBytesAt = (rate: Rate): number =>
  rate === null ? maxSliceBytes : Math.max(minSliceBytes, Math.min(maxSliceBytes, Math.floor(rate / slicesPerSecond)));

export interface PaceOptions {
  /** Nothing that can be cut is larger than this, whatever the rate. */
  readonly maxSliceBytes?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Told of the waits: else they would look like a slow source or target. */
  readonly meter: Pick<StageMeter, 'limiting'>;
  /** Resolves after so many milliseconds, or throws when the signal is aborted. */
  readonly sleep?: (ms: number, signal: AbortSignal | undefined) => Promise<void>;
}

/**
 * The same content no faster than every bucket allows, counted in bytes on the wire, and cut into slices. A slice is a copy: a
 * lease is given back as a whole. Frames cannot be cut; whoever made them kept them small.
 *
 * Nobody's stall watch may be outside of this: waiting for the limit is no stall.
 */
export const paced = (
  pieces: AsyncIterable<Piece>,
  buckets: readonly TokenBucket[],
  options: PaceOptions,
): AsyncIterable<Piece> =>
  buckets.length === 0 && options.maxSliceBytes === undefined ? pieces : pacedThrough(pieces, buckets, options);

async function* pacedThrough(
  pieces: AsyncIterable<Piece>,
  buckets: readonly TokenBucket[],
  { signal, meter, sleep = sleepFor, maxSliceBytes: most = maxSliceBytes }: PaceOptions,
): AsyncGenerator<Piece, void, undefined> {
  const sliceBytes = () => Math.min(most, sliceBytesAt(rateOf(buckets)));
  const allowed = async (bytes: number) => {
    const waitMs = Math.max(...buckets.map((bucket) => bucket.take(bytes)));
    if (waitMs >= leastWaitMs) await meter.limiting(sleep(waitMs, signal));
  };
  for await (const piece of pieces) {
    const { bytes } = piece.content;
    if (piece.frame !== null || bytes.length <= sliceBytes()) {
      await allowed(wireBytesOf(piece));
      yield piece;
      continue;
    }
    for (let at = 0; at < bytes.length;) {
      const slice = Buffer.from(bytes.subarray(at, at + sliceBytes()));
      at += slice.length;
      await allowed(slice.length);
      yield { content: Lease.of(slice), frame: null };
    }
    piece.content.release();
  }
}

const rateOf = (buckets: readonly TokenBucket[]): Rate =>
  buckets.reduce<Rate>((rate, bucket) => stricter(rate, bucket.rate()), null);

const sleepFor = async (ms: number, signal: AbortSignal | undefined): Promise<void> => {
  try {
    await setTimeout(ms, undefined, signal === undefined ? {} : { signal });
  } catch (thrown) {
    throw signal?.aborted === true ? abortReason(signal) : thrown;
  }
};
