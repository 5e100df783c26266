import { randomBytes } from 'node:crypto';
import { StreamDecoder } from '@grpc/grpc-js/build/src/stream-decoder.js';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Lease } from '../transfer/lease.js';
import { FrameAssembler } from './frame-assembler.js';

/** grpc-js's own decoder, which nothing in this file replaces, is the measure. */

const framed = (message: Uint8Array, flag = 0): Buffer => {
  const head = Buffer.from([flag, 0, 0, 0, 0]);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
};

const cut = (bytes: Buffer, sizes: readonly number[]): Buffer[] => {
  const pieces: Buffer[] = [];
  let at = 0;
  for (let turn = 0; at < bytes.length; turn += 1) {
    const size = sizes[turn % sizes.length] ?? bytes.length;
    pieces.push(bytes.subarray(at, at + size));
    at += size;
  }
  return pieces;
};

const outcome = (decoder: { write(piece: Buffer): Buffer[] }, pieces: readonly Buffer[]): (string | string[])[] =>
  pieces.map((piece) => {
    try {
      return decoder.write(piece).map((message) => message.toString('hex'));
    } catch (thrown) {
      return String(thrown);
    }
  });

describe('frames in pieces', () => {
  it('are put together as by grpc-js, piece by piece', () => {
    const message = fc.tuple(fc.nat({ max: 1 }), fc.oneof(fc.uint8Array({ maxLength: 40 }), fc.constant([])));
    const sizes = fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1 });
    fc.assert(
      fc.property(fc.array(message), sizes, (messages, pieceSizes) => {
        const bytes = Buffer.concat(messages.map(([flag, content]) => framed(Uint8Array.from(content), flag)));
        const pieces = cut(bytes, pieceSizes);
        expect(outcome(new FrameAssembler(-1), pieces)).toEqual(outcome(new StreamDecoder(-1), pieces));
      }),
    );
  });

  it('of a MiB come whole', () => {
    const content = randomBytes(1024 * 1024 + 4);
    const assembler = new FrameAssembler(-1);
    const frames = cut(framed(content), [16_384, 9]).flatMap((piece) => assembler.write(piece));
    expect(frames).toHaveLength(1);
    expect(frames[0]?.equals(framed(content))).toBe(true);
  });

  it('larger than allowed are refused in the words of grpc-js, as soon as the head is there', () => {
    const pieces = cut(framed(Buffer.alloc(101)), [5]);
    const [first] = outcome(new FrameAssembler(100), pieces);
    expect(first).toContain('Received message larger than max (101 vs 100)');
    expect(outcome(new StreamDecoder(100), pieces)[0]).toBe(first);
    expect(outcome(new FrameAssembler(101), [framed(Buffer.alloc(101))])).toEqual([
      [framed(Buffer.alloc(101)).toString('hex')],
    ]);
  });

  it('are in buffers that are used again once they are given back, and not before', () => {
    const assembler = new FrameAssembler(-1);
    const [first] = assembler.write(framed(Buffer.alloc(900_000, 1)));
    const [second] = assembler.write(framed(Buffer.alloc(900_000, 2)));
    expect(second?.buffer).not.toBe(first?.buffer);
    // A view into it will do.
    if (first !== undefined) Lease.claim(first.subarray(100)).release();
    const [third] = assembler.write(framed(Buffer.alloc(900_000, 3)));
    expect(third?.buffer).toBe(first?.buffer);
    expect(third?.equals(framed(Buffer.alloc(900_000, 3)))).toBe(true);
    expect(second?.equals(framed(Buffer.alloc(900_000, 2)))).toBe(true);
  });

  it('of a whole data message fit the buffers that the content was read into', () => {
    const content = Lease.take(1024 * 1024);
    const { buffer } = content.bytes;
    content.release();
    const [frame] = new FrameAssembler(-1).write(framed(Buffer.alloc(1024 * 1024 + 4)));
    expect(frame?.buffer).toBe(buffer);
  });
});
