import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { collectRecords, type CollectedExtent, type CollectedStream } from './collect-records.js';
import { DiffError } from './diff-error.js';
import { DiffParser } from './diff-parser.js';
import { encodeDataHeader, encodeEnd, encodeHeader, encodeZero } from './diff-writer.js';
import type { DiffHeader } from './records.js';

interface Sample {
  readonly header: DiffHeader;
  readonly extents: readonly CollectedExtent[];
}

const snapName = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 12 });

/** Extents as gaps and bodies, so that any choice is in order and without overlap. */
const extentSpec = fc.record({
  gap: fc.nat({ max: 5 }),
  body: fc.oneof(fc.uint8Array({ minLength: 1, maxLength: 40 }), fc.bigInt({ min: 1n, max: 2n ** 40n })),
});

const sample: fc.Arbitrary<Sample> = fc
  .record({
    fromSnap: fc.option(snapName),
    toSnap: fc.option(snapName),
    specs: fc.array(extentSpec, { maxLength: 12 }),
    slack: fc.nat({ max: 100 }),
  })
  .map(({ fromSnap, toSnap, specs, slack }) => {
    const extents: CollectedExtent[] = [];
    let at = 0n;
    for (const { gap, body } of specs) {
      const offset = at + BigInt(gap);
      if (typeof body === 'bigint') extents.push({ kind: 'zero', offset, length: body });
      else extents.push({ kind: 'data', offset, payload: body });
      at = offset + (typeof body === 'bigint' ? body : BigInt(body.length));
    }
    return { header: { fromSnap, toSnap, sizeBytes: at + BigInt(slack) }, extents };
  });

/** A stream's parts, in order: what is a header and what is a payload. */
function encodeParts({ header, extents }: Sample): { readonly payload: boolean; readonly bytes: Uint8Array }[] {
  const parts = [{ payload: false, bytes: encodeHeader(header) }];
  for (const extent of extents) {
    if (extent.kind === 'zero') parts.push({ payload: false, bytes: encodeZero(extent.offset, extent.length) });
    else {
      parts.push({ payload: false, bytes: encodeDataHeader(extent.offset, BigInt(extent.payload.length)) });
      parts.push({ payload: true, bytes: extent.payload });
    }
  }
  return [...parts, { payload: false, bytes: encodeEnd() }];
}

const encode = (value: Sample): Uint8Array => Uint8Array.from(encodeParts(value).flatMap(({ bytes }) => [...bytes]));

function headerPositions(value: Sample): number[] {
  let at = 0;
  return encodeParts(value).flatMap(({ payload, bytes }) => {
    const start = at;
    at += bytes.length;
    return payload ? [] : Array.from(bytes, (_, index) => start + index);
  });
}

function cut(stream: Uint8Array, cuts: readonly number[]): Uint8Array[] {
  const places = [...new Set(cuts.map((place) => place % (stream.length + 1)))].sort((a, b) => a - b);
  return [...places, stream.length].map((place, index) => stream.subarray(places[index - 1] ?? 0, place));
}

const isDiffError = (error: unknown): boolean => error instanceof DiffError;

function collectOrRefusal(stream: Uint8Array): CollectedStream | DiffError {
  try {
    return collectRecords([stream]);
  } catch (error) {
    if (error instanceof DiffError) return error;
    throw error;
  }
}

describe('for every stream', () => {
  test('what was written is what is read', () => {
    fc.assert(
      fc.property(sample, (value) => {
        const { header, extents, summary } = collectRecords([encode(value)]);
        expect({ header, extents }).toEqual(value);
        expect(summary.streamBytes).toBe(BigInt(encode(value).length));
        expect(summary.dataExtents + summary.zeroExtents).toBe(extents.length);
      }),
    );
  });

  test('the cuts between chunks make no difference', () => {
    fc.assert(
      fc.property(sample, fc.array(fc.nat(), { maxLength: 60 }), (value, cuts) => {
        const stream = encode(value);
        expect(collectRecords(cut(stream, cuts))).toEqual(collectRecords([stream]));
      }),
    );
  });

  test('single bytes as chunks make no difference', () => {
    fc.assert(
      fc.property(sample, (value) => {
        const stream = encode(value);
        const bytes = Array.from(stream, (_, index) => stream.subarray(index, index + 1));
        expect(collectRecords(bytes)).toEqual(collectRecords([stream]));
      }),
    );
  });

  test('one damaged header byte is refused or changes what is read', () => {
    fc.assert(
      fc.property(sample, fc.nat(), fc.integer({ min: 1, max: 255 }), (value, pick, damage) => {
        const stream = encode(value);
        const positions = headerPositions(value);
        const position = positions[pick % positions.length] ?? 0;
        const damaged = stream.map((byte, index) => (index === position ? byte ^ damage : byte));
        const read = collectOrRefusal(damaged);
        if (isDiffError(read)) return;
        expect(read).not.toEqual(collectRecords([stream]));
      }),
      { numRuns: 2000 },
    );
  });

  test('every proper prefix is truncated', () => {
    fc.assert(
      fc.property(sample, fc.nat(), (value, pick) => {
        const stream = encode(value);
        const prefix = stream.subarray(0, pick % stream.length);
        expect(collectOrRefusal(prefix)).toMatchObject({ kind: 'truncated', offset: BigInt(prefix.length) });
      }),
    );
  });

  test('an order window accepts its extents in any order, and still refuses one twice', () => {
    fc.assert(
      fc.property(sample, fc.infiniteStream(fc.nat()), fc.nat(), (value, shuffle, pick) => {
        const keyed = value.extents.map((extent) => ({ extent, key: shuffle.next().value }));
        const extents = keyed.sort((a, b) => a.key - b.key).map(({ extent }) => extent);
        const options = { orderWindowBytes: 2n ** 50n };
        expect(collectRecords([encode({ ...value, extents })], options).extents).toEqual(extents);
        const twice = extents[pick % Math.max(1, extents.length)];
        if (twice === undefined) return;
        const read = (): unknown => collectRecords([encode({ ...value, extents: [...extents, twice] })], options);
        expect(read).toThrow(expect.objectContaining({ kind: 'extent-overlap' }));
      }),
    );
  });
});

describe('for any garbage', () => {
  const garbage = fc.uint8Array({ maxLength: 300 });

  /** Throws whatever the parser throws that is not a DiffError. */
  function survive(stream: Uint8Array): void {
    const parser = new DiffParser({ orderWindowBytes: 4096n });
    try {
      parser.push(stream);
      parser.finish();
    } catch (error) {
      if (!isDiffError(error)) throw error;
    }
    expect(parser.bytesConsumed).toBeLessThanOrEqual(BigInt(stream.length));
  }

  test('the parser ends with an answer or a DiffError', () => {
    fc.assert(fc.property(garbage, survive));
  });

  test('so it does after a good beginning', () => {
    const tags = fc.constantFrom(...new TextEncoder().encode('ftswze'));
    const records = fc.array(fc.tuple(tags, fc.uint8Array({ maxLength: 17 })), { maxLength: 8 });
    fc.assert(
      fc.property(sample, fc.nat(), records, (value, pick, tail) => {
        const stream = encode(value);
        const good = stream.subarray(0, pick % (stream.length + 1));
        survive(Uint8Array.from([...good, ...tail.flatMap(([tag, body]) => [tag, ...body])]));
      }),
      { numRuns: 2000 },
    );
  });
});
