import { DiffParser, type DiffParserOptions } from './diff-parser.js';
import type { DiffHeader, DiffSummary } from './records.js';

export type CollectedExtent =
  | { readonly kind: 'data'; readonly offset: bigint; readonly payload: Uint8Array }
  | { readonly kind: 'zero'; readonly offset: bigint; readonly length: bigint };

export interface CollectedStream {
  readonly header: DiffHeader;
  readonly extents: readonly CollectedExtent[];
  readonly summary: DiffSummary;
}

/**
 * Reads a whole stream into memory, for tests of what makes or changes streams.
 * @throws DiffError
 */
export function collectRecords(
  chunks: Iterable<Uint8Array>,
  options: Omit<DiffParserOptions, 'visitor'> = {},
): CollectedStream {
  const extents: CollectedExtent[] = [];
  let dataOffset = 0n;
  let pieces: number[] = [];
  const parser = new DiffParser({
    ...options,
    visitor: {
      data: (offset) => {
        dataOffset = offset;
        pieces = [];
      },
      payload: (view) => {
        for (const byte of view) pieces.push(byte);
        if (parser.payloadLeft === 0n)
          extents.push({ kind: 'data', offset: dataOffset, payload: Uint8Array.from(pieces) });
      },
      zero: (offset, length) => {
        extents.push({ kind: 'zero', offset, length });
      },
    },
  });
  for (const chunk of chunks) parser.push(chunk);
  const summary = parser.finish();
  return { header: summary.header, extents, summary };
}
