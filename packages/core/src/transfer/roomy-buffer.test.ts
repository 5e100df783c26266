import { describe, expect, it } from 'vitest';
import { allocateFramed, allocateRoomy, releaseRoomy } from './roomy-buffer.js';

const KiB = 1024;
const MiB = 1024 * KiB;

describe('a buffer that was given back', () => {
  it.each([
    ['content', allocateRoomy],
    ['a frame', allocateFramed],
  ])('is used again for %s of another size, up to twice as large', (_, allocate) => {
    const first = allocateRoomy(600 * KiB);
    releaseRoomy(first);
    const second = allocate(900 * KiB);
    expect(second.buffer).toBe(first.buffer);
    expect(second).toHaveLength(900 * KiB);
    releaseRoomy(second);
    expect(allocate(400 * KiB).buffer).not.toBe(first.buffer);
    expect(allocate(MiB).buffer).toBe(first.buffer);
  });

  it('is used again once, however often it was given back', () => {
    const first = allocateRoomy(MiB);
    releaseRoomy(first);
    releaseRoomy(first.subarray(100));
    expect(allocateRoomy(MiB).buffer).toBe(first.buffer);
    expect(allocateRoomy(MiB).buffer).not.toBe(first.buffer);
  });

  it('keeps its place only as long as no other size needs it', () => {
    const large = Array.from({ length: 30 }, () => allocateRoomy(MiB));
    const small = Array.from({ length: 30 }, () => allocateRoomy(200 * KiB));
    for (const content of [...large, ...small]) releaseRoomy(content);
    const known = new Set([...large, ...small].map(({ buffer }) => buffer));
    expect(known.has(allocateRoomy(MiB).buffer)).toBe(false);
    const again = Array.from({ length: 30 }, () => allocateRoomy(200 * KiB)).filter(({ buffer }) => known.has(buffer));
    // What a daemon that rests holds on to.
    expect(again).toHaveLength(24);
  });

  it('of little content is not kept', () => {
    const first = allocateRoomy(64 * KiB);
    releaseRoomy(first);
    expect(allocateRoomy(64 * KiB).buffer).not.toBe(first.buffer);
  });
});
