import { randomBytes } from 'node:crypto';
import * as fc from 'fast-check';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { PullResponse, PushRequest, TransferServiceService } from '../gen/rbdferry/v1/transfer.js';
import { Lease } from '../transfer/lease.js';
import { transferDefinition } from './hot-data.js';

const MiB = 1024 * 1024;
const sizes = [
  0,
  1,
  2,
  63,
  127,
  128,
  129,
  255,
  256,
  16_383,
  16_384,
  16_385,
  MiB - 1,
  MiB,
  MiB + 1,
  2_097_151,
  2_097_152,
];

/** The two hot messages, with the codec in use and ts-proto's own. */
const codecs = [
  {
    name: 'a push',
    encode: transferDefinition.push.requestSerialize,
    decode: transferDefinition.push.requestDeserialize,
    general: PushRequest,
  },
  {
    name: 'a pull',
    encode: transferDefinition.pull.responseSerialize,
    decode: transferDefinition.pull.responseDeserialize,
    general: PullResponse,
  },
] as const;

const dataOf = (value: Buffer): PushRequest & PullResponse => ({ part: { $case: 'data', value } });

afterEach(() => {
  vi.restoreAllMocks();
});

describe.each(codecs)('a data message of $name', ({ encode, decode, general }) => {
  const theirs = (value: Buffer): Buffer => Buffer.from(general.encode(dataOf(value)).finish());

  it.each(sizes)('of %i bytes is encoded and decoded as ts-proto does', (size) => {
    const data = randomBytes(size);
    const bytes = encode(dataOf(data));
    expect(bytes.equals(theirs(data))).toBe(true);
    for (const decoded of [decode(bytes), general.decode(bytes)]) {
      expect(decoded.part?.$case).toBe('data');
      expect(decoded.part?.$case === 'data' && decoded.part.value.equals(data)).toBe(true);
    }
  });

  it('of any size is encoded and decoded as ts-proto does', () => {
    fc.assert(
      fc.property(fc.nat({ max: 70_000 }), (size) => {
        const data = randomBytes(size);
        const bytes = encode(dataOf(data));
        expect(bytes.equals(theirs(data))).toBe(true);
        const decoded = [decode(bytes), general.decode(bytes)];
        for (const { part } of decoded) expect(part?.$case === 'data' && part.value.equals(data)).toBe(true);
      }),
    );
  });

  it('that is a view into a larger buffer is encoded as the view only', () => {
    const data = randomBytes(1000).subarray(100, 300);
    expect(encode(dataOf(data)).equals(theirs(Buffer.from(data)))).toBe(true);
  });

  it.each(sizes)('of %i bytes with room before them is encoded in place, to the same bytes', (size) => {
    const data = Lease.take(size).bytes;
    randomBytes(size).copy(data);
    const expected = theirs(Buffer.from(data));
    const bytes = encode(dataOf(data));
    expect(bytes.equals(expected)).toBe(true);
    expect(bytes.buffer).toBe(data.buffer);
    // Twice is the same as once.
    expect(encode(dataOf(data)).equals(expected)).toBe(true);
  });

  it('that fills only a part of its room is encoded as that part', () => {
    const data = Lease.take(1000).bytes;
    randomBytes(1000).copy(data);
    const part = data.subarray(0, 300);
    const expected = theirs(Buffer.from(part));
    expect(encode(dataOf(part)).equals(expected)).toBe(true);
  });

  it("never writes before a view that only looks as if it had room: that is somebody's data", () => {
    const content = randomBytes(1000);
    const whole = Buffer.alloc(content.length);
    content.copy(whole);
    const roomy = Lease.take(1000).bytes;
    content.copy(roomy);
    for (const view of [whole.subarray(11), whole.subarray(11, 300), roomy.subarray(1), roomy.subarray(500)]) {
      expect(encode(dataOf(view)).equals(theirs(Buffer.from(view)))).toBe(true);
    }
    expect(whole.equals(content)).toBe(true);
    expect(roomy.equals(content)).toBe(true);
  });

  it('does not go the slow way', () => {
    const data = randomBytes(MiB);
    const slow = [vi.spyOn(general, 'encode'), vi.spyOn(general, 'decode')];
    decode(encode(dataOf(data)));
    for (const way of slow) expect(way).not.toHaveBeenCalled();
  });

  it('is decoded without a copy, and encoded into a buffer of its own', () => {
    const data = randomBytes(100_000);
    const bytes = encode(dataOf(data));
    const { part } = decode(bytes);
    const value = part?.$case === 'data' ? part.value : Buffer.alloc(0);
    expect(value.buffer).toBe(bytes.buffer);
    expect(value.byteOffset + value.length).toBe(bytes.byteOffset + bytes.length);
    data.fill(0);
    expect(value.every((byte) => byte === 0)).toBe(false);
  });
});

describe('other messages', () => {
  const messages: PushRequest[] = [
    { part: undefined },
    { part: { $case: 'header', value: { transferId: 'ü'.repeat(200) } } },
    { part: { $case: 'header', value: { transferId: '' } } },
    { part: { $case: 'commit', value: { streamBytes: 2n ** 64n - 1n, streamGmac: randomBytes(16) } } },
    { part: { $case: 'commit', value: { streamBytes: 0n, streamGmac: Buffer.alloc(0) } } },
  ];
  const { requestSerialize, requestDeserialize } = transferDefinition.push;

  it.each(messages)('go the general way (no. %#)', (message) => {
    const bytes = requestSerialize(message);
    expect(bytes.equals(Buffer.from(PushRequest.encode(message).finish()))).toBe(true);
    expect(requestDeserialize(bytes)).toEqual(message);
  });

  it('and every other method have the generated codec', () => {
    const names = Object.keys(TransferServiceService) as (keyof typeof TransferServiceService)[];
    for (const name of names) {
      const { path, requestStream, responseStream } = TransferServiceService[name];
      expect(transferDefinition[name]).toMatchObject({ path, requestStream, responseStream });
      if (name !== 'push')
        expect(transferDefinition[name].requestSerialize).toBe(TransferServiceService[name].requestSerialize);
      if (name !== 'pull')
        expect(transferDefinition[name].responseSerialize).toBe(TransferServiceService[name].responseSerialize);
    }
  });
});

describe('bytes that are not such a message', () => {
  type Outcome = { readonly value: unknown } | { readonly error: string };
  const outcome = (decode: (bytes: Buffer) => unknown, bytes: Buffer): Outcome => {
    try {
      return { value: decode(bytes) };
    } catch (thrown) {
      return { error: String(thrown) };
    }
  };
  const same = (bytes: Uint8Array): void => {
    for (const { decode, general } of codecs) {
      expect(outcome(decode, Buffer.from(bytes))).toEqual(
        outcome((input) => general.decode(input), Buffer.from(bytes)),
      );
    }
  };

  it.each([
    ['nothing', []],
    ['a tag alone', [0x12]],
    ['a length that is cut', [0x12, 0x80]],
    ['a payload that is cut', [0x12, 3, 1, 2]],
    ['bytes behind the payload', [0x12, 1, 1, 0]],
    ['data twice: the last one counts', [0x12, 1, 1, 0x12, 2, 8, 9]],
    ['data, then a header', [0x12, 1, 1, 0x0a, 0]],
    ['a header, then data', [0x0a, 0, 0x12, 1, 5]],
    ['an unknown field behind', [0x12, 1, 1, 0x78, 1]],
    ['a length written longer than needed', [0x12, 0x81, 0x80, 0x00, 7]],
    ['a length of five bytes', [0x12, 0x81, 0x80, 0x80, 0x80, 0x00, 7]],
    ['a length of ten bytes', [0x12, 0x81, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00, 7]],
    ['a length of eleven bytes', [0x12, 0x81, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00, 7]],
    ['an absurd length', [0x12, 0xff, 0xff, 0xff, 0xff, 0x7f, 7]],
    ['a length that is 1 in 32 bits only', [0x12, 0x81, 0x80, 0x80, 0x80, 0x10, 7]],
    ['the field with another wire type', [0x10, 1]],
    ['the tag written longer than needed', [0x92, 0x00, 1, 7]],
  ])('%s: the same as with the general decoder', (_, bytes) => {
    same(Uint8Array.from(bytes));
  });

  it('whatever they are: the same as with the general decoder', () => {
    const anything = fc.uint8Array({ maxLength: 40 });
    const almost = anything.map((bytes) => Uint8Array.from([0x12, ...bytes]));
    const shaped = fc
      .tuple(fc.nat({ max: 45 }), anything)
      .map(([length, bytes]) => Uint8Array.from([0x12, length, ...bytes]));
    fc.assert(fc.property(fc.oneof(anything, almost, shaped), same), { numRuns: 2000 });
  });
});
