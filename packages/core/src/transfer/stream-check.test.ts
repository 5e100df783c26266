import { describe, expect, it } from 'vitest';
import { DiffError } from '../diff/diff-error.js';
import { DiffParser } from '../diff/diff-parser.js';
import { expectedDiff, streamError } from './stream-check.js';

const layout = {
  sizeBytes: 1n << 30n,
  objectSizeBytes: 4 << 20,
  stripeUnitBytes: 4 << 20,
  stripeCount: 1,
  features: [],
  dataPool: null,
};

describe('what a diff must be', () => {
  it('is said by the snapshots and the size', () => {
    expect(expectedDiff(layout, { snap: 'b', fromSnap: 'a' })).toEqual({
      expect: { fromSnap: 'a', toSnap: 'b', sizeBytes: 1n << 30n },
    });
    expect(expectedDiff(layout, { snap: 'b', fromSnap: null }).expect?.fromSnap).toBeNull();
  });

  it('of a striped image may go object by object within an object set', () => {
    const { orderWindowBytes } = expectedDiff({ ...layout, stripeCount: 16 }, { snap: 'b', fromSnap: null });
    expect(orderWindowBytes).toBe(64n << 20n);
  });

  it('makes a parser for every layout that the wire lets through', () => {
    const widest = { ...layout, objectSizeBytes: 64 << 20, stripeCount: 65_536 };
    expect(() => new DiffParser(expectedDiff(widest, { snap: 'b', fromSnap: null }))).not.toThrow();
  });
});

describe('a malformed stream', () => {
  it('that ended early is truncated', () => {
    const error = streamError(new DiffError({ kind: 'truncated', inside: 'between-records' }, 17n));
    expect(error).toMatchObject({ code: 'STREAM_TRUNCATED' });
    expect(error.message).toContain('at byte 17');
  });

  it('of any other kind is invalid', () => {
    expect(streamError(new DiffError({ kind: 'unknown-tag', tag: 0x78 }, 3n))).toMatchObject({
      code: 'STREAM_INVALID',
    });
  });
});
