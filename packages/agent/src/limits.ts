import {
  constantRate,
  highestRate,
  lowestRate,
  stricter,
  type Rate,
  type RateLimit,
} from '@rbdferry/core/model/rate-limit.js';
import type { OutgoingOptions } from '@rbdferry/core/transfer/outgoing.js';
import { sliceBytesAt } from '@rbdferry/core/transfer/paced.js';
import { TokenBucket } from '@rbdferry/core/transfer/token-bucket.js';
import type { AgreedCompression } from './receiver-client/compression.js';

/** How fast one job may be: what it shares with the other jobs of its receiver, and what it was given for itself. */
export interface JobLimits {
  /** All of them hold; none when there is no limit. */
  readonly buckets: readonly TokenBucket[];
  /** The least and the most that the job may get, over the whole day and with all others that share a limit. */
  readonly lowest: Rate;
  readonly highest: Rate;
}

/** More than these seldom restore at once, and a job that is alone must not be held to a tiny share of the window. */
const mostSharers = 4;

/** The limits of all receivers. Jobs of one receiver share its limit. */
export class TransferLimits {
  readonly #receivers: ReadonlyMap<string, { readonly limit: RateLimit; readonly bucket: TokenBucket }>;
  readonly #sharers: number;

  /**
   * @param maxTransfers how many jobs may run at once
   * @param before what held until now: jobs that run go on sharing a limit that has not changed with those to come
   */
  constructor(
    limits: Readonly<Record<string, { readonly limit?: RateLimit | undefined }>>,
    maxTransfers: number,
    before?: TransferLimits,
  ) {
    this.#sharers = Math.min(maxTransfers, mostSharers);
    this.#receivers = new Map(
      Object.entries(limits).flatMap(([name, { limit }]) =>
        limit === undefined
          ? []
          : [
              [
                name,
                (before === undefined ? undefined : before.#same(name, limit)) ?? {
                  limit,
                  bucket: new TokenBucket(limit),
                },
              ],
            ],
      ),
    );
  }

  #same(name: string, limit: RateLimit): { readonly limit: RateLimit; readonly bucket: TokenBucket } | undefined {
    const known = this.#receivers.get(name);
    return known !== undefined && JSON.stringify(known.limit) === JSON.stringify(limit) ? known : undefined;
  }

  /** @param own the job's own limit; null for none */
  of(receiver: string, own: number | null): JobLimits {
    const shared = this.#receivers.get(receiver);
    const limit = shared?.limit ?? constantRate(null);
    const buckets = [
      ...(shared === undefined ? [] : [shared.bucket]),
      ...(own === null ? [] : [new TokenBucket(constantRate(own))]),
    ];
    const lowest = lowestRate(limit);
    const share = lowest === null ? null : Math.floor(lowest / this.#sharers);
    return { buckets, lowest: stricter(share, own), highest: stricter(highestRate(limit), own) };
  }
}

/**
 * How a backup is sent with these limits. A frame cannot be cut, so what is compressed at once is small from the beginning: a
 * quarter of a second's worth even when it does not become smaller.
 */
export const outgoingWithin = (
  { buckets, lowest }: JobLimits,
  agreed: AgreedCompression,
): Pick<OutgoingOptions, 'buckets' | 'compression' | 'maxContentBytes'> => ({
  buckets,
  compression: agreed.kind === 'zstd' ? agreed : null,
  maxContentBytes: lowest === null ? undefined : 4 * sliceBytesAt(lowest),
});

/**
 * What a receiver is told of the limits when it sends: the highest rate that may come to hold, since nothing can be said later,
 * and slices that are small enough at the lowest one. The reader's own pace does the rest. Half as large as our own slices: the
 * messages that grpc-js reads ahead come on top of what is on the way.
 */
export const pullLimits = ({ lowest, highest }: JobLimits): { limitBytesPerSecond: number; maxDataBytes: number } => ({
  limitBytesPerSecond: highest ?? 0,
  maxDataBytes: lowest === null ? 0 : sliceBytesAt(Math.floor(lowest / 2)),
});

const smallestWindowBytes = 64 * 1024;

/** The window of a channel for reading with these limits: what is on the way is no more than a quarter of a second's worth. */
export const windowWithin = ({ lowest }: JobLimits, windowBytes: number): number =>
  lowest === null ? windowBytes : Math.min(windowBytes, Math.max(smallestWindowBytes, Math.floor(lowest / 4)));
