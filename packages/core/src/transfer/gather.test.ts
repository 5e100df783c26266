import * as fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { gather } from './gather.js';

async function* from(chunks: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* chunks;
}

const collect = async (items: AsyncIterable<Uint8Array>): Promise<Uint8Array[]> => {
  const all: Uint8Array[] = [];
  for await (const item of items) all.push(item);
  return all;
};

describe('gather', () => {
  it('gives the same bytes in buffers of exactly the size, the last one shorter', async () => {
    const chunks = fc.array(fc.uint8Array({ maxLength: 50 }), { maxLength: 30 });
    await fc.assert(
      fc.asyncProperty(chunks, fc.integer({ min: 1, max: 64 }), async (input, size) => {
        const whole = Buffer.concat(input);
        const output = await collect(gather(from(input), size));
        expect(Buffer.concat(output).equals(whole)).toBe(true);
        expect(output.map(({ length }) => length)).toEqual(
          Array.from({ length: Math.ceil(whole.length / size) }, (_, index) =>
            Math.min(size, whole.length - index * size),
          ),
        );
      }),
    );
  });

  it('gives buffers that are each their own, and untouched afterwards', async () => {
    const source = new Uint8Array(10).fill(1);
    async function* reused(): AsyncGenerator<Uint8Array> {
      for (let value = 1; value <= 4; value += 1) yield source.fill(value);
    }
    const output = await collect(gather(reused(), 5));
    expect(output.map((each) => [...new Set(each)])).toEqual([[1], [1], [2], [2], [3], [3], [4], [4]]);
    expect(new Set(output.map(({ buffer }) => buffer)).size).toBe(output.length);
  });

  it('copies each byte once', async () => {
    const copied: number[] = [];
    const set = vi.spyOn(Uint8Array.prototype, 'set').mockImplementation(function (
      this: Uint8Array,
      bytes: ArrayLike<number>,
    ) {
      copied.push(bytes.length);
    });
    try {
      await collect(gather(from([new Uint8Array(70), new Uint8Array(3), new Uint8Array(50)]), 32));
    } finally {
      set.mockRestore();
    }
    expect(copied.reduce((sum, length) => sum + length, 0)).toBe(123);
  });

  it('gives nothing for nothing', async () => {
    expect(await collect(gather(from([]), 8))).toEqual([]);
    expect(await collect(gather(from([new Uint8Array(0), new Uint8Array(0)]), 8))).toEqual([]);
  });

  it('passes the failure of its source on, after the whole buffers before it', async () => {
    async function* failing(): AsyncGenerator<Uint8Array> {
      yield new Uint8Array(10);
      throw new Error('rbd died');
    }
    const got: number[] = [];
    await expect(
      (async () => {
        for await (const each of gather(failing(), 4)) got.push(each.length);
      })(),
    ).rejects.toThrow('rbd died');
    // The end of a broken stream is not a buffer of its own: nobody must take it for the last one.
    expect(got).toEqual([4, 4]);
  });

  it('ends its source when it is left early', async () => {
    const ended = vi.fn();
    async function* endless(): AsyncGenerator<Uint8Array> {
      try {
        for (;;) yield new Uint8Array(3);
      } finally {
        ended();
      }
    }
    for await (const _ of gather(endless(), 8)) break;
    expect(ended).toHaveBeenCalledOnce();
  });

  it('reads no further than it must', async () => {
    let made = 0;
    async function* counted(): AsyncGenerator<Uint8Array> {
      for (;;) {
        made += 1;
        yield new Uint8Array(4);
      }
    }
    for await (const _ of gather(counted(), 8)) break;
    expect(made).toBe(2);
  });
});
