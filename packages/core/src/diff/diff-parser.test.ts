import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { collectRecords } from './collect-records.js';
import { DiffError, type DiffProblem } from './diff-error.js';
import { DiffParser, type DiffParserOptions } from './diff-parser.js';
import {
  encodeBanner,
  encodeDataHeader,
  encodeEnd,
  encodeFromSnap,
  encodeHeader,
  encodeSize,
  encodeToSnap,
  encodeZero,
} from './diff-writer.js';

const text = (value: string): Uint8Array => new TextEncoder().encode(value);
const join = (...parts: Uint8Array[]): Uint8Array => Uint8Array.from(parts.flatMap((part) => [...part]));
const data = (offset: bigint, payload: string): Uint8Array =>
  join(encodeDataHeader(offset, BigInt(payload.length)), text(payload));
const HEADER = encodeHeader({ fromSnap: 'a', toSnap: 'b', sizeBytes: 1000n });
/** Where the first record after HEADER begins. */
const BODY = BigInt(HEADER.length);

function refusal(stream: Uint8Array, options: DiffParserOptions = {}): DiffError {
  const parser = new DiffParser(options);
  try {
    parser.push(stream);
    parser.finish();
  } catch (error) {
    if (error instanceof DiffError) return error;
    throw error;
  }
  throw new Error('the stream was accepted');
}

interface Refused {
  readonly name: string;
  readonly stream: Uint8Array;
  readonly options?: DiffParserOptions;
  readonly problem: DiffProblem;
  readonly offset: bigint;
}

const LONG_NAME_RECORD = Uint8Array.of(0x66, 0xff, 0xff, 0xff, 0xff);
const EXTENTS: readonly Refused[] = [
  {
    name: 'a data extent without length',
    stream: join(HEADER, encodeDataHeader(5n, 0n)),
    problem: { kind: 'empty-extent', extentOffset: 5n },
    offset: BODY,
  },
  {
    name: 'a zero extent without length',
    stream: join(HEADER, encodeZero(5n, 0n)),
    problem: { kind: 'empty-extent', extentOffset: 5n },
    offset: BODY,
  },
  {
    name: 'an extent one byte past the size',
    stream: join(HEADER, encodeZero(999n, 2n)),
    problem: { kind: 'extent-past-size', extentOffset: 999n, extentBytes: 2n, sizeBytes: 1000n },
    offset: BODY,
  },
  {
    name: 'an extent that begins past the size',
    stream: join(HEADER, encodeDataHeader(1001n, 1n)),
    problem: { kind: 'extent-past-size', extentOffset: 1001n, extentBytes: 1n, sizeBytes: 1000n },
    offset: BODY,
  },
  {
    name: 'an offset whose end would overflow 64 bits',
    stream: join(HEADER, encodeZero(1n, 2n ** 64n - 1n)),
    problem: { kind: 'number-too-large', value: 2n ** 64n - 1n },
    offset: BODY,
  },
  {
    name: 'an extent before the last one',
    stream: join(HEADER, encodeZero(500n, 10n), encodeZero(400n, 10n)),
    problem: { kind: 'extent-out-of-order', extentOffset: 400n },
    offset: BODY + 17n,
  },
  {
    name: 'an extent that overlaps the last one',
    stream: join(HEADER, data(500n, 'abc'), encodeZero(502n, 10n)),
    problem: { kind: 'extent-overlap', extentOffset: 502n },
    offset: BODY + 20n,
  },
  {
    name: 'an extent back in an earlier order window',
    stream: join(HEADER, encodeZero(500n, 10n), encodeZero(99n, 1n)),
    options: { orderWindowBytes: 100n },
    problem: { kind: 'extent-out-of-order', extentOffset: 99n },
    offset: BODY + 17n,
  },
  {
    name: 'an overlap inside an order window',
    stream: join(HEADER, encodeZero(550n, 10n), encodeZero(500n, 10n), encodeZero(509n, 2n)),
    options: { orderWindowBytes: 100n },
    problem: { kind: 'extent-overlap', extentOffset: 509n },
    offset: BODY + 34n,
  },
];

const HEADERS: readonly Refused[] = [
  { name: 'another banner', stream: text('rbd diff v2\n'), problem: { kind: 'bad-banner' }, offset: 0n },
  {
    name: 'an unknown tag',
    stream: join(HEADER, text('q')),
    problem: { kind: 'unknown-tag', tag: 0x71 },
    offset: BODY,
  },
  {
    name: 'a second from-snapshot',
    stream: join(encodeBanner(), encodeFromSnap('a'), encodeFromSnap('a')),
    problem: { kind: 'duplicate-record', record: 'from-snap' },
    offset: 18n,
  },
  {
    name: 'a second size',
    stream: join(encodeBanner(), encodeSize(1n), encodeSize(1n)),
    problem: { kind: 'duplicate-record', record: 'size' },
    offset: 21n,
  },
  {
    name: 'a size after data',
    stream: join(HEADER, encodeZero(0n, 1n), encodeSize(1n)),
    problem: { kind: 'record-after-data', record: 'size' },
    offset: BODY + 17n,
  },
  {
    name: 'a to-snapshot after data',
    stream: join(encodeBanner(), encodeSize(9n), encodeZero(0n, 1n), encodeToSnap('b')),
    problem: { kind: 'record-after-data', record: 'to-snap' },
    offset: 38n,
  },
  {
    name: 'no size',
    stream: join(encodeBanner(), encodeToSnap('b'), encodeEnd()),
    problem: { kind: 'missing-size' },
    offset: 18n,
  },
  {
    name: 'a size above what numbers hold',
    stream: join(encodeBanner(), encodeSize(2n ** 53n)),
    problem: { kind: 'number-too-large', value: 2n ** 53n },
    offset: 12n,
  },
  {
    name: 'a name of four gigabytes',
    stream: join(encodeBanner(), LONG_NAME_RECORD),
    problem: { kind: 'name-too-long', nameBytes: 0xffff_ffff, maxNameBytes: 4096 },
    offset: 12n,
  },
  {
    name: 'a name above the given limit',
    stream: join(encodeBanner(), encodeToSnap('abcd')),
    options: { maxNameBytes: 3 },
    problem: { kind: 'name-too-long', nameBytes: 4, maxNameBytes: 3 },
    offset: 12n,
  },
  {
    name: 'an empty name',
    stream: join(encodeBanner(), Uint8Array.of(0x74, 0, 0, 0, 0)),
    problem: { kind: 'bad-name', reason: 'empty' },
    offset: 12n,
  },
  {
    name: 'a name that is not utf-8',
    stream: join(encodeBanner(), Uint8Array.of(0x74, 1, 0, 0, 0, 0xff)),
    problem: { kind: 'bad-name', reason: 'not-utf8' },
    offset: 12n,
  },
  {
    name: 'bytes after the end',
    stream: join(HEADER, encodeEnd(), text('e')),
    problem: { kind: 'trailing-bytes' },
    offset: BODY + 1n,
  },
];

const FULL = encodeHeader({ fromSnap: null, toSnap: 'b', sizeBytes: 1000n });
const HEAD = encodeHeader({ fromSnap: 'a', toSnap: null, sizeBytes: 1000n });
const UNEXPECTED: readonly Refused[] = [
  {
    name: 'another from-snapshot',
    stream: join(HEADER, encodeEnd()),
    options: { expect: { fromSnap: 'z' } },
    problem: { kind: 'unexpected-from-snap', expected: 'z', actual: 'a' },
    offset: BODY,
  },
  {
    name: 'an increment where a full was expected',
    stream: join(HEADER, encodeEnd()),
    options: { expect: { fromSnap: null } },
    problem: { kind: 'unexpected-from-snap', expected: null, actual: 'a' },
    offset: BODY,
  },
  {
    name: 'a full where an increment was expected',
    stream: join(FULL, encodeEnd()),
    options: { expect: { fromSnap: 'a' } },
    problem: { kind: 'unexpected-from-snap', expected: 'a', actual: null },
    offset: BigInt(FULL.length),
  },
  {
    name: 'a head where a snapshot was expected',
    stream: join(HEAD, encodeEnd()),
    options: { expect: { toSnap: 'b' } },
    problem: { kind: 'unexpected-to-snap', expected: 'b', actual: null },
    offset: BigInt(HEAD.length),
  },
  {
    name: 'another size',
    stream: join(HEADER, encodeZero(0n, 1n)),
    options: { expect: { sizeBytes: 999n } },
    problem: { kind: 'unexpected-size', expected: 999n, actual: 1000n },
    offset: BODY,
  },
];

const TRUNCATED: readonly Refused[] = [
  { name: 'nothing at all', stream: text(''), problem: { kind: 'truncated', inside: 'banner' }, offset: 0n },
  { name: 'half a banner', stream: text('rbd di'), problem: { kind: 'truncated', inside: 'banner' }, offset: 6n },
  { name: 'no end record', stream: HEADER, problem: { kind: 'truncated', inside: 'between-records' }, offset: BODY },
  {
    name: 'half a record header',
    stream: join(HEADER, encodeZero(0n, 1n).subarray(0, 9)),
    problem: { kind: 'truncated', inside: 'record-header' },
    offset: BODY + 9n,
  },
  {
    name: 'half a payload',
    stream: join(HEADER, encodeDataHeader(0n, 100n), text('abc')),
    problem: { kind: 'truncated', inside: 'payload' },
    offset: BODY + 20n,
  },
];

describe('a stream is refused for', () => {
  test.each([...HEADERS, ...EXTENTS, ...UNEXPECTED, ...TRUNCATED])('$name', ({ stream, options, problem, offset }) => {
    const error = refusal(stream, options);
    expect(error.problem).toEqual(problem);
    expect(error.kind).toBe(problem.kind);
    expect(error.offset).toBe(offset);
    expect(error.message).toMatch(new RegExp(`^rbd diff stream at byte ${offset}: [a-z]`));
  });

  test('more separate extents in a window than are remembered', () => {
    const extents = Array.from({ length: 65_537 }, (_, index) => encodeZero(BigInt(2 * index), 1n));
    const parser = new DiffParser({ orderWindowBytes: 1_000_000n });
    parser.push(encodeHeader({ fromSnap: null, toSnap: 'b', sizeBytes: 1_000_000n }));
    const pushAll = (): void => {
      for (const extent of extents) parser.push(extent);
    };
    expect(pushAll).toThrow(expect.objectContaining({ kind: 'window-too-scattered' }));
  });
});

describe('messages', () => {
  test('show an unknown tag in hex, and as a character where it is one', () => {
    expect(refusal(join(HEADER, text('q'))).message).toContain('0x71 ("q")');
    expect(refusal(join(HEADER, Uint8Array.of(5))).message).toMatch(/0x05$/);
  });

  test('quote the names that differ', () => {
    const error = refusal(join(HEADER, encodeEnd()), { expect: { fromSnap: null, toSnap: 'b"c' } });
    expect(error.message).toContain('from-snapshot is "a", expected absent');
  });
});

describe('the parser', () => {
  test('takes exactly what is expected', () => {
    const expected = { fromSnap: 'a', toSnap: 'b', sizeBytes: 1000n };
    expect(collectRecords([HEADER, encodeEnd()], { expect: expected }).header).toEqual(expected);
  });

  test('takes the head of an image without any snapshot', () => {
    const header = { fromSnap: null, toSnap: null, sizeBytes: 0n };
    expect(collectRecords([encodeHeader(header), encodeEnd()]).header).toEqual(header);
  });

  test('takes header records in any order', () => {
    const stream = [encodeBanner(), encodeSize(7n), encodeToSnap('b'), encodeFromSnap('a'), encodeEnd()];
    expect(collectRecords(stream).header).toEqual({ fromSnap: 'a', toSnap: 'b', sizeBytes: 7n });
  });

  test('takes an extent that ends exactly at the size, and one that begins where the last ended', () => {
    const { extents } = collectRecords([HEADER, data(996n, 'ab'), data(998n, 'cd'), encodeEnd()]);
    expect(extents).toHaveLength(2);
  });

  test('keeps a byte order mark in a name', () => {
    const toSnap = '\ufeffsnap';
    expect(collectRecords([encodeHeader({ fromSnap: null, toSnap, sizeBytes: 0n }), encodeEnd()]).header.toSnap).toBe(
      toSnap,
    );
  });

  test('takes any order inside an order window, across an extent that reaches into the next window too', () => {
    const offsets = [50n, 0n, 20n, 190n, 150n, 300n];
    const stream = [HEADER, ...offsets.map((offset) => encodeZero(offset, 20n)), encodeEnd()];
    expect(collectRecords(stream, { orderWindowBytes: 100n }).extents).toHaveLength(6);
  });

  test('knows where it stands between chunks', () => {
    const parser = new DiffParser();
    expect(parser.header).toBeUndefined();
    parser.push(join(HEADER, encodeZero(0n, 5n), encodeDataHeader(10n, 4n), text('abc')));
    expect(parser.header).toEqual({ fromSnap: 'a', toSnap: 'b', sizeBytes: 1000n });
    expect(parser.totals).toEqual({ dataBytes: 3n, zeroBytes: 5n, dataExtents: 1, zeroExtents: 1 });
    expect(parser.bytesConsumed).toBe(BODY + 37n);
    expect(parser.recordOffset).toBe(BODY + 17n);
    expect(parser.ended).toBe(false);
    parser.push(text('de'));
    expect(parser.ended).toBe(true);
    expect(parser.finish()).toEqual({ header: parser.header, ...parser.totals, streamBytes: BODY + 39n });
  });

  test('tells its visitor of everything, in order', () => {
    const calls: unknown[] = [];
    const parser = new DiffParser({
      visitor: {
        header: (header) => calls.push(['header', header.toSnap, parser.recordOffset]),
        data: (offset, length) => calls.push(['data', offset, length, parser.bytesConsumed]),
        payload: (view) => calls.push(['payload', view.length, parser.bytesConsumed]),
        zero: (offset, length) => calls.push(['zero', offset, length, parser.bytesConsumed]),
        end: () => calls.push(['end', parser.ended]),
      },
    });
    parser.push(join(HEADER, encodeZero(1n, 2n), encodeDataHeader(3n, 4n), text('ab')));
    parser.push(text('cde'));
    expect(calls).toEqual([
      ['header', 'b', BODY],
      ['zero', 1n, 2n, BODY + 17n],
      ['data', 3n, 4n, BODY + 34n],
      ['payload', 2, BODY + 36n],
      ['payload', 2, BODY + 38n],
      ['end', true],
    ]);
  });

  test('throws the same error again once it has failed', () => {
    const parser = new DiffParser();
    const bad = (): void => parser.push(text('not a banner'));
    expect(bad).toThrow(DiffError);
    expect(() => parser.push(HEADER)).toThrow(expect.objectContaining({ kind: 'bad-banner' }));
    expect(() => parser.finish()).toThrow(expect.objectContaining({ kind: 'bad-banner' }));
  });

  test('is spent after its visitor threw', () => {
    const parser = new DiffParser({
      visitor: {
        zero: () => {
          throw new Error('disk full');
        },
      },
    });
    expect(() => parser.push(join(HEADER, encodeZero(0n, 1n)))).toThrow('disk full');
    expect(() => parser.finish()).toThrow('disk full');
  });

  test.each([{ maxNameBytes: 0 }, { maxNameBytes: 1.5 }, { orderWindowBytes: 0n }, { orderWindowBytes: 2n ** 60n }])(
    'refuses the options %o',
    (options) => {
      expect(() => new DiffParser(options)).toThrow(RangeError);
    },
  );
});

describe('real streams of Ceph 16.2.15', () => {
  // Made by `rbd create g --size 1M --object-size 4K`, writes, `snap create g@monday`, writes and zeroes over some of
  // them, `snap create g@tuesday`; then export-diff of monday, and of tuesday from monday.
  const fixture = (name: string): Uint8Array => readFileSync(new URL(`./fixtures/${name}.diff`, import.meta.url));

  test('a full', () => {
    const stream = collectRecords([fixture('golden-full')], {
      expect: { fromSnap: null, toSnap: 'monday', sizeBytes: 1_048_576n },
    });
    expect(stream.summary).toMatchObject({ dataExtents: 5, zeroExtents: 0, streamBytes: 13_924n });
  });

  test('an increment', () => {
    const { header, extents, summary } = collectRecords([fixture('golden-incremental')]);
    expect(header).toEqual({ fromSnap: 'monday', toSnap: 'tuesday', sizeBytes: 1_048_576n });
    expect(extents).toMatchObject([
      { kind: 'zero', offset: 0n, length: 10n },
      { kind: 'data', offset: 4500n },
      { kind: 'data', offset: 49_152n },
      { kind: 'zero', offset: 102_400n, length: 2600n },
    ]);
    expect(summary).toMatchObject({ dataBytes: 859n, zeroBytes: 2610n, streamBytes: 972n });
  });

  test.each(['golden-full', 'golden-incremental'])('%s cut anywhere short is truncated', (name) => {
    const whole = fixture(name);
    for (let length = 0; length < whole.length; length += 1)
      expect(refusal(whole.subarray(0, length)).kind).toBe('truncated');
  });
});
