import { createHash, randomBytes } from 'node:crypto';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DiffParser } from './diff-parser.js';
import { encodeDataHeader, encodeEnd, encodeHeader, encodeZero } from './diff-writer.js';
import { roomBeforeChunk, zeroBlockBytes, ZeroCutter } from './zero-cutter.js';

const KiB = 1024;

interface Extent {
  readonly offset: number;
  readonly body: Buffer | { readonly zeroBytes: number };
}

const lengthOf = ({ body }: Extent): number => (Buffer.isBuffer(body) ? body.length : body.zeroBytes);
const header = encodeHeader({ fromSnap: 'before', toSnap: 'after', sizeBytes: 2n ** 40n });

const encode = (extents: readonly Extent[], head = header): Buffer =>
  Buffer.concat([
    head,
    ...extents.flatMap(({ offset, body }) =>
      Buffer.isBuffer(body)
        ? [encodeDataHeader(BigInt(offset), BigInt(body.length)), body]
        : [encodeZero(BigInt(offset), BigInt(body.zeroBytes))],
    ),
    encodeEnd(),
  ]);

const passed = (stream: Uint8Array, cuts: readonly number[] = []): Buffer[] => {
  const cutter = new ZeroCutter();
  const places = [...new Set(cuts.map((cut) => cut % (stream.length + 1)))].sort((a, b) => a - b);
  const chunks = [...places, stream.length].map((place, index) => stream.subarray(places[index - 1] ?? 0, place));
  // The room before a chunk is full of somebody's bytes.
  const out = chunks.flatMap((chunk) => cutter.push(Buffer.concat([randomBytes(roomBeforeChunk), chunk])));
  return [...out, ...cutter.finish()];
};

const cutOut = (stream: Uint8Array, cuts?: readonly number[]): Buffer => Buffer.concat(passed(stream, cuts));

/** What a reader of the stream does to an image; the parser sees to it that it is a diff with its extents in order. */
const read = (stream: Buffer) => {
  const bytes = new Map<number, Buffer>();
  const extents: { kind: 'data' | 'zero'; offset: number; length: number }[] = [];
  const begin = (kind: 'data' | 'zero', offset: bigint, length: bigint) => {
    extents.push({ kind, offset: Number(offset), length: Number(length) });
  };
  let at = 0;
  const put = (content: Buffer) => {
    for (let done = 0; done < content.length;) {
      const block = Math.floor((at + done) / zeroBlockBytes) * zeroBlockBytes;
      const to = bytes.get(block) ?? Buffer.alloc(zeroBlockBytes, 0xaa);
      bytes.set(block, to);
      done += content.copy(to, at + done - block, done);
    }
    at += content.length;
  };
  const parser = new DiffParser({
    visitor: {
      data: (offset, length) => {
        begin('data', offset, length);
        at = Number(offset);
      },
      payload: (view) => {
        put(Buffer.from(view));
      },
      zero: (offset, length) => {
        begin('zero', offset, length);
        at = Number(offset);
        put(Buffer.alloc(Number(length)));
      },
    },
  });
  parser.push(stream);
  return { image: bytes, extents, header: parser.finish().header, streamBytes: stream.length };
};

/** Of every byte that was touched, and where; Vitest compares buffers byte by byte. */
const digestOf = (image: ReadonlyMap<number, Buffer>): string => {
  const hash = createHash('sha256');
  for (const [block, bytes] of [...image].sort(([a], [b]) => a - b)) hash.update(`${block} `).update(bytes);
  return hash.digest('hex');
};

/** Aligned blocks of zeros within the data of a stream. */
const zeroBlocks = (extents: readonly Extent[]): number => {
  let found = 0;
  for (const { offset, body } of extents) {
    if (!Buffer.isBuffer(body)) continue;
    const first = (zeroBlockBytes - (offset % zeroBlockBytes)) % zeroBlockBytes;
    for (let at = first; at + zeroBlockBytes <= body.length; at += zeroBlockBytes)
      if (body.subarray(at, at + zeroBlockBytes).every((byte) => byte === 0)) found += 1;
  }
  return found;
};

const piece = fc
  .record({
    kind: fc.constantFrom('zeros', 'noise', 'sparse'),
    blocks: fc.nat({ max: 4 }),
    odd: fc.oneof({ weight: 2, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.nat({ max: 5000 }) }),
  })
  .map(({ kind, blocks, odd }) => {
    const length = blocks * zeroBlockBytes + odd;
    const bytes = kind === 'noise' ? randomBytes(length) : Buffer.alloc(length);
    if (kind === 'sparse') for (let at = 2000; at < length; at += 6000) bytes[at] = 1;
    return bytes;
  });

const body = fc.oneof(
  { weight: 5, arbitrary: fc.array(piece, { minLength: 1, maxLength: 6 }).map((pieces) => Buffer.concat(pieces)) },
  { weight: 1, arbitrary: fc.integer({ min: 1, max: 70_000 }).map((zeroBytes) => ({ zeroBytes })) },
);

const extents: fc.Arbitrary<Extent[]> = fc
  .array(fc.record({ gap: fc.oneof(fc.constant(0), fc.constant(512), fc.nat({ max: 9000 })), body }), { maxLength: 5 })
  .map((specs) => {
    let at = 2 ** 33;
    const made = specs.map(({ gap, body }) => {
      const extent = { offset: at + gap, body };
      at = extent.offset + lengthOf(extent);
      return extent;
    });
    return made.filter((extent) => lengthOf(extent) > 0);
  });

describe('a stream without its zeros', () => {
  it('makes the same image, however it is cut into chunks, and has no aligned block of zeros left', () => {
    fc.assert(
      fc.property(extents, fc.array(fc.nat(), { maxLength: 12 }), (value, cuts) => {
        const stream = encode(value);
        const cut = cutOut(stream, cuts);
        const [before, after] = [read(stream), read(cut)];
        expect(after.header).toEqual(before.header);
        expect(digestOf(after.image)).toBe(digestOf(before.image));
        const left = after.extents.map(({ kind, offset, length }) => ({
          offset,
          body: kind === 'zero' ? { zeroBytes: length } : contentOf(after.image, offset, length),
        }));
        expect(zeroBlocks(left)).toBe(0);
        if (zeroBlocks(value) === 0) expect(cut.equals(stream)).toBe(true);
        else expect(cut.length).toBeLessThan(stream.length);
        expect(cut.equals(cutOut(stream))).toBe(true);
      }),
      { numRuns: 500 },
    );
  });

  it('is the same when its chunks are single bytes', () => {
    fc.assert(
      fc.property(extents, (value) => {
        const stream = encode(value.slice(0, 2));
        const every = Array.from({ length: stream.length }, (_, index) => index);
        expect(cutOut(stream, every).equals(cutOut(stream))).toBe(true);
      }),
      { numRuns: 5 },
    );
  });

  it('lies in the buffers that were given, for which it never needs others', () => {
    fc.assert(
      fc.property(extents, fc.nat(), (value, pick) => {
        const stream = encode(value);
        const at = pick % stream.length;
        const given = [stream.subarray(0, at), stream.subarray(at)].map((chunk) =>
          Buffer.concat([randomBytes(roomBeforeChunk), chunk]),
        );
        const cutter = new ZeroCutter();
        const buffers = new Set(given.flatMap((buffer) => cutter.push(buffer)).map(({ buffer }) => buffer));
        for (const buffer of buffers) expect(given.some((each) => each.buffer === buffer)).toBe(true);
      }),
    );
  });

  it('writes in aligned places only: data is never split within a block', () => {
    fc.assert(
      fc.property(extents, fc.array(fc.nat(), { maxLength: 12 }), (value, cuts) => {
        const edges = new Set(value.flatMap((extent) => [extent.offset, extent.offset + lengthOf(extent)]));
        for (const { offset, length } of read(cutOut(encode(value), cuts)).extents)
          for (const edge of [offset, offset + length])
            expect(edge % zeroBlockBytes === 0 || edges.has(edge)).toBe(true);
      }),
      { numRuns: 200 },
    );
  });
});

const contentOf = (image: ReadonlyMap<number, Buffer>, offset: number, length: number): Buffer => {
  const out = Buffer.alloc(length);
  for (let done = 0; done < length;) {
    const block = Math.floor((offset + done) / zeroBlockBytes) * zeroBlockBytes;
    done += (image.get(block) ?? Buffer.alloc(0)).copy(out, done, offset + done - block);
  }
  return out;
};

describe('a long record', () => {
  const noise = (bytes: number) => randomBytes(bytes);
  const everyMiB = Array.from({ length: 40 }, (_, index) => index * 1000 * KiB);

  it('of 4 MiB stays one, and is kept only until it ends', () => {
    const stream = encode([{ offset: 0, body: noise(4096 * KiB) }]);
    expect(cutOut(stream, everyMiB).equals(stream)).toBe(true);
  });

  it('of 32 MiB does not wait as a whole, and is cut at blocks', () => {
    const cutter = new ZeroCutter();
    const content = noise(32 * 1024 * KiB);
    const stream = encode([{ offset: 0, body: content }]);
    const out: Buffer[] = [];
    let [pushed, most] = [0, 0];
    for (let at = 0; at < stream.length; at += 1000 * KiB) {
      const chunk = stream.subarray(at, at + 1000 * KiB);
      pushed += chunk.length;
      out.push(...cutter.push(Buffer.concat([Buffer.alloc(roomBeforeChunk), chunk])));
      most = Math.max(most, pushed - out.reduce((sum, { length }) => sum + length, 0));
    }
    const { extents, image } = read(Buffer.concat([...out, ...cutter.finish()]));
    expect(most).toBeLessThan(10 * 1024 * KiB);
    expect(extents.length).toBe(4);
    expect(extents.every(({ offset }) => offset % zeroBlockBytes === 0)).toBe(true);
    expect(contentOf(image, 0, content.length).equals(content)).toBe(true);
  });

  it('of zeros becomes one zero extent', () => {
    const stream = encode([{ offset: 0, body: Buffer.alloc(4096 * KiB) }]);
    expect(cutOut(stream, everyMiB).equals(encode([{ offset: 0, body: { zeroBytes: 4096 * KiB } }]))).toBe(true);
  });
});

describe('what is no whole diff', () => {
  it('stays as it is', () => {
    const noDiff = Buffer.concat([Buffer.from('rbd diff v1\nx'), Buffer.alloc(20_000)]);
    expect(cutOut(noDiff, [5, 13, 9000])).toEqual(noDiff);
    const empty = Buffer.concat([Buffer.from('rbd diff v1\n'), encodeDataHeader(0n, 0n), Buffer.alloc(20_000)]);
    expect(cutOut(empty)).toEqual(empty);
    const far = Buffer.concat([Buffer.from('rbd diff v1\n'), encodeDataHeader(2n ** 63n, 9000n), Buffer.alloc(9000)]);
    expect(cutOut(far)).toEqual(far);
  });

  it('ends too early for its reader as well', () => {
    fc.assert(
      fc.property(extents, fc.array(fc.nat(), { maxLength: 5 }), fc.nat(), (value, cuts, pick) => {
        const stream = encode(value);
        const parser = new DiffParser();
        parser.push(cutOut(stream.subarray(0, pick % stream.length), cuts));
        expect(() => parser.finish()).toThrow(expect.objectContaining({ kind: 'truncated' }));
      }),
      { numRuns: 500 },
    );
  });

  it('passes any garbage without a complaint of its own', () => {
    const records = fc.array(fc.tuple(fc.constantFrom(...Buffer.from('ftswze')), fc.uint8Array({ maxLength: 17 })));
    fc.assert(
      fc.property(extents, fc.nat(), records, (value, pick, tail) => {
        const stream = encode(value);
        const good = stream.subarray(0, pick % (stream.length + 1));
        cutOut(Uint8Array.from([...good, ...tail.flatMap(([tag, body]) => [tag, ...body])]));
      }),
    );
  });
});
