import { FerryError } from '../errors/ferry-error.js';
import type { DiffError } from '../diff/diff-error.js';
import type { DiffParserOptions } from '../diff/diff-parser.js';
import type { Layout } from '../model/chain.js';

/** What the parser must see in the stream between these snapshots of an image of this layout. */
export const expectedDiff = (
  layout: Layout,
  range: { readonly snap: string; readonly fromSnap: string | null },
): DiffParserOptions => ({
  expect: { fromSnap: range.fromSnap, toSnap: range.snap, sizeBytes: layout.sizeBytes },
  // Ceph 16.2.15 sends extents in order always; older releases go object by object within an object set of a striped image.
  ...(layout.stripeCount > 1 ? { orderWindowBytes: BigInt(layout.stripeCount) * BigInt(layout.objectSizeBytes) } : {}),
});

/** A malformed stream as the error users see. */
export const streamError = (error: DiffError): FerryError =>
  new FerryError(
    error.problem.kind === 'truncated' ? 'STREAM_TRUNCATED' : 'STREAM_INVALID',
    `the diff stream is malformed: ${error.message}`,
    {
      cause: error,
    },
  );
