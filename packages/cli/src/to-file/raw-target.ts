/** A piece of an image's content. The bytes are the caller's again when they are written. */
export interface Extent {
  /** First byte in the image. */
  readonly offset: number;
  readonly bytes: Uint8Array;
}

/** Where the raw content of an image is written. What is never written reads as zeros. Throws OUTPUT_FAILED. */
export interface RawTarget {
  /** Once, before anything else. */
  begin(sizeBytes: number): Promise<void>;
  /** Extents do not overlap; they may come a little out of order. Resolves when none of the bytes is needed any more. */
  write(extents: readonly Extent[]): Promise<void>;
  /** All of it was written, and was right: from now on it is there for others. */
  finish(): Promise<void>;
  /** It will not become whole: nothing is left, as far as that can be. Never rejects; safe at any time. */
  discard(): Promise<void>;
}
