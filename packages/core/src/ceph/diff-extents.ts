import { z } from 'zod';
import { FerryError } from '../errors/ferry-error.js';
import type { DiffExtents } from './port.js';

const extentSchema = z.object({
  length: z.int().nonnegative(),
  exists: z.union([z.boolean(), z.enum(['true', 'false'])]),
});
const object = /\{[^{}]*\}/g;

/** Sums the extents of `rbd diff --format json` as its output comes, without keeping it. */
export class ExtentSum {
  readonly #what: string;
  #rest = '';
  #dataBytes = 0n;
  #zeroBytes = 0n;
  #extents = 0;

  /** @param what for the message of an error */
  constructor(what: string) {
    this.#what = what;
  }

  /** @throws CEPH_FAILED when the output is not what we know of rbd */
  add(chunk: Buffer): void {
    // The output is ASCII: no character is cut in two.
    const text = this.#rest + chunk.toString('latin1');
    let end = 0;
    for (const match of text.matchAll(object)) {
      this.#addExtent(match[0]);
      end = match.index + match[0].length;
    }
    this.#rest = text.slice(end);
  }

  get result(): DiffExtents {
    return { dataBytes: this.#dataBytes, zeroBytes: this.#zeroBytes, extents: this.#extents };
  }

  #addExtent(json: string): void {
    const parsed = extentSchema.safeParse(JSON.parse(json));
    if (!parsed.success) {
      throw new FerryError(
        'CEPH_FAILED',
        `cannot ${this.#what}: rbd answered something unexpected: ${json.slice(0, 100)}`,
      );
    }
    const { length, exists } = parsed.data;
    if (exists === true || exists === 'true') this.#dataBytes += BigInt(length);
    else this.#zeroBytes += BigInt(length);
    this.#extents += 1;
  }
}

/** Tag, offset and length of an extent's record. */
const recordHeadBytes = 17n;
/** Banner, size, end, and two names of the usual length. */
const headerBytes = 96n;

/**
 * About how long `rbd export-diff` of these extents will be: a little more rather than less, so that a transfer does not outgrow
 * its total. Bytes.
 */
export const estimatedStreamBytes = ({ dataBytes, extents }: DiffExtents): bigint =>
  headerBytes + dataBytes + BigInt(extents) * recordHeadBytes;
