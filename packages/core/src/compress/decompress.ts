import { FerryError } from '../errors/ferry-error.js';
import type { Zstd } from './zstd.js';
import { frameProblem } from './zstd-frame.js';

/** A part of a stream as it came; the wire's CompressedData. */
export interface CompressedPart {
  readonly frame: Uint8Array;
  readonly contentBytes: number;
}

/**
 * The content of a part, exactly as long as announced. What the part may cost is looked at before anything is decoded.
 *
 * @throws STREAM_INVALID when it is not a sound frame of that content; INVALID_REQUEST when this side said that it cannot
 */
export const decompressPart = async (zstd: Zstd | null, part: CompressedPart): Promise<Buffer> => {
  if (zstd === null) {
    throw new FerryError('INVALID_REQUEST', 'a part is compressed, and this side did not say that it can read that', {
      hint: 'turn the compression off, or install the same release of rbdferry on both sides',
    });
  }
  const problem = frameProblem(part.frame, part.contentBytes);
  if (problem !== null) throw invalid(problem);
  const content = await zstd.decompress(part.frame).catch((cause: unknown) => {
    throw invalid(cause instanceof Error ? cause.message : String(cause), cause);
  });
  if (content.length === part.contentBytes) return content;
  throw invalid(`it became ${content.length} bytes, and not ${part.contentBytes}`);
};

const invalid = (why: string, cause?: unknown): FerryError =>
  new FerryError('STREAM_INVALID', `a compressed part of the stream cannot be used: ${why}`, {
    hint: 'nothing was committed; look for a newer release, or turn the compression off',
    cause,
  });
