import { afterEach, describe, expect, it, vi } from 'vitest';
import { Lease, poisonReleased, reportSecondReleases, withRoom } from './lease.js';

const KiB = 1024;
const MiB = 1024 * KiB;

/** Takes a buffer and gives it back; answers the memory. */
const takenAndReleased = (sizeBytes: number): ArrayBufferLike => {
  const lease = Lease.take(sizeBytes);
  const { buffer } = lease.bytes;
  lease.release();
  return buffer;
};

describe('a buffer that was given back', () => {
  it.each([
    ['content', (sizeBytes: number) => Lease.take(sizeBytes)],
    ['a frame', (sizeBytes: number) => Lease.takeFramed(sizeBytes)],
  ])('is used again for %s of another size, up to twice as large', (_, take) => {
    const buffer = takenAndReleased(600 * KiB);
    const second = take(900 * KiB);
    expect(second.bytes.buffer).toBe(buffer);
    expect(second.bytes).toHaveLength(900 * KiB);
    second.release();
    expect(take(400 * KiB).bytes.buffer).not.toBe(buffer);
    expect(take(MiB).bytes.buffer).toBe(buffer);
  });

  it('keeps its place only as long as no other size needs it', () => {
    const large = Array.from({ length: 30 }, () => Lease.take(MiB));
    const small = Array.from({ length: 30 }, () => Lease.take(200 * KiB));
    const known = new Set([...large, ...small].map(({ bytes }) => bytes.buffer));
    for (const lease of [...large, ...small]) lease.release();
    expect(known.has(Lease.take(MiB).bytes.buffer)).toBe(false);
    const again = Array.from({ length: 30 }, () => Lease.take(200 * KiB).bytes.buffer);
    // What a daemon that rests holds on to.
    expect(again.filter((buffer) => known.has(buffer))).toHaveLength(24);
  });

  it('of little content is not kept', () => {
    expect(Lease.take(64 * KiB).bytes.buffer).not.toBe(takenAndReleased(64 * KiB));
  });
});

describe('a lease that was given back', () => {
  const inUse = { code: 'INTERNAL', message: expect.stringContaining('given back') };

  it.each([
    ['of a buffer that is used again', () => Lease.take(MiB)],
    ['of memory of its own', () => Lease.of(Buffer.alloc(10))],
  ])('%s gives its bytes to nobody', (_, make) => {
    const lease = make();
    lease.release();
    expect(() => lease.bytes).toThrow(expect.objectContaining(inUse));
    expect(() => lease.bytesForMessage).toThrow(expect.objectContaining(inUse));
    expect(() => lease.withRoom(5)).toThrow(expect.objectContaining(inUse));
    expect(() => lease.narrow(Buffer.alloc(1))).toThrow(expect.objectContaining(inUse));
  });

  it('a second time changes nothing for the next owner, and is reported', () => {
    const report = vi.fn();
    reportSecondReleases(report);
    const first = Lease.take(MiB);
    first.release();
    const second = Lease.take(MiB);
    first.release();
    expect(report).toHaveBeenCalledExactlyOnceWith(
      expect.objectContaining({ message: 'a buffer was given back twice' }),
    );
    expect(second.bytes).toHaveLength(MiB);
    // Else two would have the same buffer.
    expect(Lease.take(MiB).bytes.buffer).not.toBe(second.bytes.buffer);
    reportSecondReleases(() => {});
  });

  describe('in tests', () => {
    let heal = () => {};
    afterEach(() => {
      heal();
    });

    it('has nonsense where its bytes were, but for memory of its own', () => {
      heal = poisonReleased();
      const lease = Lease.take(MiB);
      const bytes = lease.bytes.fill(1);
      lease.release();
      expect([bytes[0], bytes.at(-1)]).toEqual([0x5a, 0x5a]);
      const own = Buffer.alloc(10, 1);
      Lease.of(own).release();
      expect(own).toEqual(Buffer.alloc(10, 1));
    });

    it('throws the second time', () => {
      heal = poisonReleased();
      const lease = Lease.take(MiB);
      lease.release();
      expect(() => lease.release()).toThrow('a buffer was given back twice');
    });
  });
});

describe('what is in a message', () => {
  it('is claimed once, by whoever gets it', () => {
    const sent = Lease.take(MiB).bytesForMessage;
    const claimed = Lease.claim(sent.subarray(5));
    expect(claimed.bytes).toHaveLength(MiB - 5);
    expect(() => Lease.claim(sent)).toThrow('in use for something else');
    claimed.release();
    expect(() => Lease.claim(sent)).toThrow('in use for something else');
  });

  it('cannot be claimed when the buffer is another one’s by now', () => {
    const lease = Lease.take(MiB);
    const stale = lease.bytesForMessage;
    lease.release();
    const next = Lease.take(MiB);
    expect(next.bytes.buffer).toBe(stale.buffer);
    expect(() => Lease.claim(stale)).toThrow('in use for something else');
    expect(next.bytes).toHaveLength(MiB);
  });

  it('is given back when it has been sent, and reported when it was given back before', () => {
    const report = vi.fn();
    reportSecondReleases(report);
    const lease = Lease.take(MiB);
    const sent = lease.bytesForMessage;
    Lease.releaseSent(sent);
    expect(() => lease.bytes).toThrow('given back');
    const next = Lease.take(MiB);
    expect(next.bytes.buffer).toBe(sent.buffer);
    Lease.releaseSent(sent);
    expect(report).toHaveBeenCalledOnce();
    expect(next.bytes).toHaveLength(MiB);
    Lease.releaseSent(Buffer.from('plain'));
    expect(report).toHaveBeenCalledOnce();
    reportSecondReleases(() => {});
  });

  it('may be of any memory', () => {
    expect(Lease.claim(Buffer.from('plain')).bytes.toString()).toBe('plain');
  });

  it('has room before it, and nothing else has', () => {
    const lease = Lease.take(100);
    expect(lease.withRoom(11)?.subarray(11)).toEqual(lease.bytes);
    expect(withRoom(lease.bytes, 11)?.buffer).toBe(lease.bytes.buffer);
    // The room of what lies in the middle of the content is content.
    expect(withRoom(lease.bytes.subarray(50), 11)).toBeUndefined();
    expect(Lease.of(Buffer.alloc(100)).withRoom(11)).toBeUndefined();
    expect(withRoom(Buffer.alloc(100).subarray(50), 11)).toBeUndefined();
  });
});
