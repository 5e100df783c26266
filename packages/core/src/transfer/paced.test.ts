import { randomBytes } from 'node:crypto';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FerryError } from '../errors/ferry-error.js';
import { constantRate, type RateLimit } from '../model/rate-limit.js';
import { Lease } from './lease.js';
import { paced, sliceBytesAt } from './paced.js';
import { asPieces, wireBytesOf, type Piece } from './piece.js';
import { StageMeter } from './stage-meter.js';
import { TokenBucket, type Clock } from './token-bucket.js';
import { TransferStages } from './transfer-stages.js';

const KiB = 1024;
const MiB = KiB * KiB;

/** Time that passes only when somebody sleeps; sleepers wake in the order of their times. */
class FakeTime implements Clock {
  #now = 1_000_000;
  #sleepers: { atMs: number; wake: () => void }[] = [];
  /** How much later than asked a sleeper wakes. */
  lateMs = 0;
  minute = 0;

  readonly nowMs = () => this.#now;
  readonly minuteOfDay = () => this.minute;

  readonly sleep = (ms: number): Promise<void> =>
    new Promise((wake) => {
      this.#sleepers.push({ atMs: this.#now + ms + this.lateMs, wake });
    });

  /** Lets time pass until the work is done. */
  async run<T>(work: Promise<T>): Promise<T> {
    const state = { done: false };
    const end = work.finally(() => {
      state.done = true;
    });
    end.catch(() => {});
    for (;;) {
      await new Promise((resolve) => setImmediate(resolve));
      if (state.done) return end;
      this.#sleepers.sort((a, b) => a.atMs - b.atMs);
      const next = this.#sleepers.shift();
      if (next === undefined) throw new Error('everybody waits for something else');
      this.#now = Math.max(this.#now, next.atMs);
      next.wake();
    }
  }
}

const blank = Buffer.alloc(MiB);

async function* chunksOf(bytes: number): AsyncGenerator<Lease, void, undefined> {
  for (let rest = bytes; rest > 0; rest -= MiB) yield Lease.of(blank.subarray(0, rest));
}

interface Sent {
  readonly atMs: number;
  readonly bytes: number;
}

/** What goes out, and when. */
const send = async (time: FakeTime, pieces: AsyncIterable<Piece>, buckets: TokenBucket[]): Promise<Sent[]> => {
  const sent: Sent[] = [];
  for await (const piece of paced(pieces, buckets, { sleep: time.sleep, meter: new StageMeter(time.nowMs) }))
    sent.push({ atMs: time.nowMs(), bytes: wireBytesOf(piece) });
  return sent;
};

/** The most that went out within any so many milliseconds. */
const mostWithin = (sent: readonly Sent[], ms: number): number => {
  let most = 0;
  let first = 0;
  let sum = 0;
  for (const each of sent) {
    sum += each.bytes;
    for (let old = sent[first]; old !== undefined && old.atMs <= each.atMs - ms; old = sent[first]) {
      sum -= old.bytes;
      first += 1;
    }
    most = Math.max(most, sum);
  }
  return most;
};

const bucketOf = (rate: number | RateLimit, time: Clock): TokenBucket =>
  new TokenBucket(typeof rate === 'number' ? constantRate(rate) : rate, time);

describe('a limited stream', () => {
  it.each([
    ['1 KiB/s', KiB, 20 * KiB],
    ['100 KiB/s', 100 * KiB, 3 * MiB],
    ['5 MiB/s', 5 * MiB, 50 * MiB],
    ['50 MiB/s', 50 * MiB, 300 * MiB],
    ['1 GiB/s', 1024 * MiB, 1024 * MiB],
  ])('at %s takes the time it should, to 5 %%, and no second sees much more', async (_, rate, bytes) => {
    for (const lateMs of [0, 3, 40]) {
      const time = new FakeTime();
      time.lateMs = lateMs;
      const started = time.nowMs();
      const sent = await time.run(send(time, asPieces(chunksOf(bytes)), [bucketOf(rate, time)]));
      expect(sent.reduce((sum, each) => sum + each.bytes, 0)).toBe(bytes);
      const expectedMs = (bytes / rate) * 1000;
      expect(Math.abs(time.nowMs() - started - expectedMs) / expectedMs).toBeLessThan(0.05);
      expect(mostWithin(sent, 1000)).toBeLessThanOrEqual(rate * 1.3 + 256);
    }
  });

  it('shows something at least four times a second', async () => {
    const time = new FakeTime();
    const sent = await time.run(send(time, asPieces(chunksOf(10 * KiB)), [bucketOf(KiB, time)]));
    for (const [index, each] of sent.entries())
      expect(each.atMs - (sent[index - 1]?.atMs ?? 1_000_000)).toBeLessThanOrEqual(251);
  });

  it('that was idle for an hour saved up no more than a quarter of a second', async () => {
    const time = new FakeTime();
    const bucket = bucketOf(MiB, time);
    async function* idle(): AsyncGenerator<Lease, void, undefined> {
      yield* chunksOf(3 * MiB);
      await time.sleep(3_600_000);
      yield* chunksOf(3 * MiB);
    }
    const sent = await time.run(send(time, asPieces(idle()), [bucket]));
    expect(mostWithin(sent, 1000)).toBeLessThanOrEqual(1.3 * MiB);
  });

  it('is shared fairly, and together it is one limit', async () => {
    const time = new FakeTime();
    const shared = bucketOf(10 * MiB, time);
    const started = time.nowMs();
    const users = await time.run(
      Promise.all([20, 20, 20].map((size) => send(time, asPieces(chunksOf(size * MiB)), [shared]))),
    );
    expect((time.nowMs() - started) / 1000).toBeCloseTo(6, 1);
    for (const sent of users) {
      const half = sent.filter(({ atMs }) => atMs - started <= 3000).reduce((sum, { bytes }) => sum + bytes, 0);
      expect(Math.abs(half - 10 * MiB) / (10 * MiB)).toBeLessThan(0.1);
    }
    const all = users.flat().toSorted((a, b) => a.atMs - b.atMs);
    expect(mostWithin(all, 1000)).toBeLessThanOrEqual(13 * MiB);
  });

  it('goes by the stricter of two limits, and leaves the rest of the other one to others', async () => {
    const time = new FakeTime();
    const shared = bucketOf(10 * MiB, time);
    const started = time.nowMs();
    const ends: number[] = [];
    const one = async (size: number, buckets: TokenBucket[]) => {
      await send(time, asPieces(chunksOf(size * MiB)), buckets);
      ends.push((time.nowMs() - started) / 1000);
    };
    await time.run(Promise.all([one(8, [shared, bucketOf(MiB, time)]), one(72, [shared])]));
    for (const end of ends) expect(Math.abs(end - 8)).toBeLessThan(0.4);
  });

  it('follows the time of day, from a fast part into a slow one and back', async () => {
    const time = new FakeTime();
    const limit = { rate: 100 * MiB, times: [{ fromMinute: 60, toMinute: 120, rate: 10 * KiB }] };
    const bucket = bucketOf(limit, time);
    const sent = await time.run(
      (async () => {
        const seen: Sent[][] = [];
        for (const [minute, bytes] of [
          [0, 300 * MiB],
          [60, 50 * KiB],
          [120, 300 * MiB],
        ] as const) {
          time.minute = minute;
          const started = time.nowMs();
          seen.push(await send(time, asPieces(chunksOf(bytes)), [bucket]));
          const expected = (bytes / (minute === 60 ? 10 * KiB : 100 * MiB)) * 1000;
          expect(Math.abs(time.nowMs() - started - expected) / expected).toBeLessThan(0.1);
        }
        return seen;
      })(),
    );
    expect(sent.map((each) => Math.max(...each.map(({ bytes }) => bytes)))).toEqual([MiB, 640, MiB]);
  });

  it('without a limit at this time does not wait at all', async () => {
    const time = new FakeTime();
    const bucket = bucketOf({ rate: null, times: [{ fromMinute: 60, toMinute: 120, rate: KiB }] }, time);
    const sent = await send(time, asPieces(chunksOf(10 * MiB)), [bucket]);
    expect(sent.map(({ bytes }) => bytes)).toEqual(Array.from({ length: 10 }, () => MiB));
  });

  it('counts a frame by what goes over the wire, and sends it whole', async () => {
    const time = new FakeTime();
    const started = time.nowMs();
    async function* frames(): AsyncGenerator<Piece, void, undefined> {
      for (let index = 0; index < 40; index += 1) yield { content: Lease.of(blank), frame: Buffer.alloc(100 * KiB) };
    }
    const sent = await time.run(send(time, frames(), [bucketOf(MiB, time)]));
    expect((time.nowMs() - started) / 1000).toBeCloseTo((40 * 100) / 1024, 1);
    expect(sent.every(({ bytes }) => bytes === 100 * KiB)).toBe(true);
  });
});

describe('the content of a limited stream', () => {
  it('is the same, whatever the sizes, also when its buffers are used again as soon as they may be', async () => {
    const sizes = fc.array(fc.integer({ min: 1, max: 40_000 }), { minLength: 1, maxLength: 12 });
    await fc.assert(
      fc.asyncProperty(sizes, fc.integer({ min: 2048, max: 600_000 }), async (lengths, rate) => {
        const time = new FakeTime();
        const contents = lengths.map((length) => randomBytes(length));
        async function* source(): AsyncGenerator<Lease, void, undefined> {
          for (const content of contents) {
            // A released buffer of this size comes back here, and is overwritten.
            const chunk = Lease.take(content.length);
            content.copy(chunk.bytes);
            yield chunk;
          }
        }
        const kept: Buffer[] = [];
        const slices: Uint8Array[] = [];
        const reading = (async () => {
          for await (const { content } of paced(asPieces(source()), [bucketOf(rate, time)], {
            sleep: time.sleep,
            meter: new StageMeter(time.nowMs),
          })) {
            expect(content.bytes.length).toBeLessThanOrEqual(sliceBytesAt(rate));
            kept.push(Buffer.from(content.bytes));
            slices.push(content.bytes);
          }
        })();
        await time.run(reading);
        expect(Buffer.concat(kept).equals(Buffer.concat(contents))).toBe(true);
        // Nobody has written into what was handed out: it may still be waiting to be sent.
        expect(Buffer.concat(slices).equals(Buffer.concat(contents))).toBe(true);
      }),
      { numRuns: 60 },
    );
  });

  it('is passed on as it is when it needs no cut', async () => {
    const time = new FakeTime();
    const chunk = Lease.of(blank);
    async function* one(): AsyncGenerator<Piece, void, undefined> {
      yield { content: chunk, frame: null };
    }
    const seen: Piece[] = [];
    const work = (async () => {
      for await (const piece of paced(one(), [bucketOf(100 * MiB, time)], {
        sleep: time.sleep,
        meter: new StageMeter(time.nowMs),
      }))
        seen.push(piece);
    })();
    await time.run(work);
    expect(seen[0]?.content).toBe(chunk);
  });
});

describe('waiting for a limit', () => {
  it('ends with the reason when it is aborted, and the source is ended', async () => {
    const steps: string[] = [];
    async function* source(): AsyncGenerator<Lease, void, undefined> {
      try {
        yield Lease.of(blank);
      } finally {
        steps.push('ended');
      }
    }
    const controller = new AbortController();
    const reading = (async () => {
      for await (const _ of paced(asPieces(source()), [new TokenBucket(constantRate(1024))], {
        signal: controller.signal,
        meter: new StageMeter(),
      }))
        controller.abort(new FerryError('CANCELLED', 'job x was cancelled'));
    })();
    await expect(reading).rejects.toMatchObject({ code: 'CANCELLED', message: 'job x was cancelled' });
    expect(steps).toEqual(['ended']);
  });
});

describe('a limit that is the limit', () => {
  it('is what was waited for, and neither source nor target', async () => {
    const time = new FakeTime();
    const stages = new TransferStages('sender', time.nowMs);
    const { meter } = stages;
    const work = (async () => {
      const chunks = asPieces(meter.arriving(chunksOf(10 * MiB)));
      for await (const piece of paced(chunks, [bucketOf(MiB, time)], { sleep: time.sleep, meter })) {
        await meter.leaving(time.sleep(10));
        meter.passed(wireBytesOf(piece));
      }
    })();
    await time.run(work);
    const { source, limit, bottleneck } = stages.view;
    expect(bottleneck).toBe('limit');
    expect(source?.waitedMs).toBe(0);
    expect(limit?.waitedMs).toBeGreaterThan(5_000);
    // The far end only saw that nothing came.
    stages.heard({ bytes: 10 * MiB, upstreamMs: 9_500, downstreamMs: 500, limitMs: 0 });
    expect(stages.view.bottleneck).toBe('limit');
    expect(stages.view.wire?.waitedMs).toBeLessThan(2_000);
  });
});

describe('slices', () => {
  it('are a sixteenth of a second, within bounds', () => {
    expect([KiB, 64 * KiB, MiB, 16 * MiB, 1024 * MiB, null].map(sliceBytesAt)).toEqual([
      256,
      4 * KiB,
      64 * KiB,
      MiB,
      MiB,
      MiB,
    ]);
  });
});
