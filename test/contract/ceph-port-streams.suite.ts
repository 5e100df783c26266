import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import type { CephPort, DiffRange } from '@rbdferry/core/ceph/port.js';
import { FerryError } from '@rbdferry/core/errors/ferry-error.js';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { randomBytes } from '../ceph/cluster.js';
import type { World } from './world.js';

/** Diffs out of and into images, and every way in which that may end. */
const MiB = 1024 * 1024;
const where = { pool: 'rbd', namespace: '' };
const source = { ...where, image: 'source' };
const full: DiffRange = { snap: 's1', fromSnap: null };
const increment: DiffRange = { snap: 's2', fromSnap: 's1' };

/** Far less than the 30 s for which a dead client's lock would be waited for. */
const lockOfTheDeadMs = 20_000;

const failsWith = (code: string) => expect.objectContaining({ code });

const timed = async (work: () => Promise<unknown>): Promise<number> => {
  const begin = performance.now();
  await work();
  return performance.now() - begin;
};

/** The same cases for every implementation. */
export const cephPortStreamsSuite = (start: () => World | Promise<World>): void => {
  let world: World;
  let ceph: CephPort;

  beforeAll(async () => {
    world = await start();
    ({ ceph } = world);
    await newImage(source.image);
    await world.write(source, 0, randomBytes('one', world.manyBytes));
    await ceph.createSnapshot(source, 's1');
    await world.write(source, 4096, randomBytes('two', 4 * MiB));
    await ceph.createSnapshot(source, 's2');
  });

  afterAll(() => world?.stop());

  const newImage = async (name: string, features = ['layering', 'exclusive-lock', 'object-map', 'fast-diff']) => {
    const image = { ...where, image: name };
    const size = { sizeBytes: BigInt(64 * MiB), objectSizeBytes: 4 * MiB, stripeUnitBytes: 4 * MiB, stripeCount: 1 };
    await ceph.create(image, { ...size, features, dataPool: null });
    return image;
  };

  const read = async (range: DiffRange, signal?: AbortSignal): Promise<Buffer> => {
    const chunks: Uint8Array[] = [];
    for await (const chunk of ceph.exportDiff(source, range, { signal })) chunks.push(chunk.bytes);
    return Buffer.concat(chunks);
  };

  /** A lock or watcher of a dead client would make this take 30 s. */
  const expectFree = async (image: typeof source, snap = `free-${Math.random()}`): Promise<void> => {
    expect(await timed(() => ceph.createSnapshot(image, snap))).toBeLessThan(lockOfTheDeadMs);
    expect(await ceph.watchers(image)).toEqual([]);
  };

  describe('a diff', () => {
    it('goes from one image to another, in full and as an increment', async () => {
      const target = await newImage('target');
      for (const range of [full, increment]) {
        const sink = ceph.importDiff(target);
        for await (const chunk of ceph.exportDiff(source, range)) await sink.write(chunk.bytes);
        await sink.finish();
      }
      expect((await ceph.snapshots(target)).map(({ name }) => name)).toEqual(['s1', 's2']);
      for (const snap of ['s1', 's2']) {
        expect(await world.sha256(target, snap)).toBe(await world.sha256(source, snap));
      }
      await expectFree(target);
    });

    it('brings zeros where an image shrank and grew again', async () => {
      const [shrunk, copy] = [await newImage('shrunk'), await newImage('copy')];
      const send = async (range: DiffRange): Promise<void> => {
        const sink = ceph.importDiff(copy);
        for await (const chunk of ceph.exportDiff(shrunk, range)) await sink.write(chunk.bytes);
        await sink.finish();
        expect(await world.sha256(copy, range.snap)).toBe(await world.sha256(shrunk, range.snap));
      };
      await world.write(shrunk, 0, randomBytes('whole', 12 * MiB));
      await ceph.createSnapshot(shrunk, 's1');
      await send({ snap: 's1', fromSnap: null });
      await world.resize(shrunk, 5 * MiB + 1000);
      await ceph.createSnapshot(shrunk, 's2');
      await send({ snap: 's2', fromSnap: 's1' });
      await world.resize(shrunk, 64 * MiB);
      await world.write(shrunk, 9 * MiB + 1, randomBytes('new', 10_000));
      await ceph.createSnapshot(shrunk, 's3');
      await send({ snap: 's3', fromSnap: 's2' });
      await ceph.removeSnapshot(copy, 's2');
      await ceph.rollback(copy, 's1');
      await send({ snap: 's2', fromSnap: 's1' });
    });

    it('is the same every time', async () => {
      const digest = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');
      expect(digest(await read(increment))).toBe(digest(await read(increment)));
    });
  });

  describe('an export', () => {
    it('says which end of the range is missing', async () => {
      await expect(read({ snap: 'nope', fromSnap: null })).rejects.toEqual(failsWith('SNAPSHOT_NOT_FOUND'));
      await expect(read({ snap: 's2', fromSnap: 'nope' })).rejects.toEqual(failsWith('SNAPSHOT_NOT_FOUND'));
      const nobody = ceph.exportDiff({ ...source, image: 'nobody' }, full);
      await expect(nobody[Symbol.asyncIterator]().next()).rejects.toEqual(failsWith('IMAGE_NOT_FOUND'));
    });

    it('shows life', async () => {
      const onAlive = vi.fn();
      // An export that is over at once need not.
      const isShown = () => onAlive.mock.calls.length > 0;
      for await (const _ of ceph.exportDiff(source, full, { onAlive }))
        await vi.waitUntil(isShown, { timeout: 10_000 });
      expect(onAlive).toHaveBeenCalled();
    });

    it('leaves nothing behind when nobody wants the rest', async () => {
      const took = await timed(async () => {
        for await (const _ of ceph.exportDiff(source, full)) break;
      });
      expect(took).toBeLessThan(lockOfTheDeadMs);
      await expectFree(source);
    });

    it('leaves nothing behind when it is broken off', async () => {
      const controller = new AbortController();
      const reason = new FerryError('TRANSFER_STALLED', 'enough');
      const reading = async (): Promise<void> => {
        for await (const _ of ceph.exportDiff(source, full, { signal: controller.signal })) controller.abort(reason);
      };
      await expect(reading()).rejects.toBe(reason);
      await expectFree(source);
    });
  });

  describe.each([
    ['exclusive-lock and object-map', undefined],
    ['layering alone', ['layering']],
  ])('an import into an image with %s', (_, features) => {
    let images = 0;
    const target = () => newImage(`t-${features?.length ?? 'all'}-${(images += 1)}`, features);

    it('is not committed when it is broken off, and its image is free at once', async () => {
      const image = await target();
      const sink = ceph.importDiff(image);
      await sink.write((await read(full)).subarray(0, -1));
      await sleep(500);
      expect(await ceph.watchers(image)).toHaveLength(1);
      expect(await timed(() => sink.abort())).toBeLessThan(lockOfTheDeadMs);
      expect(await ceph.snapshots(image)).toEqual([]);
      await expectFree(image);
      await expect(sink.write(Buffer.from('e'))).rejects.toEqual(failsWith('CANCELLED'));
    });

    it('is not committed when the signal is aborted in the middle of a write', async () => {
      const image = await target();
      const controller = new AbortController();
      const reason = new FerryError('CONNECTION_LOST', 'gone');
      const sink = ceph.importDiff(image, { signal: controller.signal });
      const bytes = (await read(full)).subarray(0, -1);
      const writing = expect(sink.write(bytes)).rejects.toBe(reason);
      controller.abort(reason);
      await writing;
      await expect(sink.finish()).rejects.toBe(reason);
      await sink.abort();
      expect(await ceph.snapshots(image)).toEqual([]);
      await expectFree(image);
    });

    it('is not committed without its last byte', async () => {
      const image = await target();
      const sink = ceph.importDiff(image);
      await sink.write((await read(full)).subarray(0, -1));
      await expect(sink.finish()).rejects.toMatchObject({
        code: 'CEPH_FAILED',
        message: expect.stringContaining('(74)'),
      });
      expect(await ceph.snapshots(image)).toEqual([]);
      await expectFree(image);
    });

    it('lets its image be marked and looked at meanwhile', async () => {
      const image = await target();
      const bytes = await read(full);
      const sink = ceph.importDiff(image);
      await sink.write(bytes.subarray(0, -1));
      const took = await timed(async () => {
        await ceph.setMetadata(image, 'state', 'receiving');
        expect(await ceph.removeMetadata(image, 'state')).toBe(true);
        await ceph.setMetadata(image, 'facts', '{}');
        expect(await ceph.metadata(image)).toEqual(new Map([['facts', '{}']]));
      });
      expect(took).toBeLessThan(lockOfTheDeadMs);
      await sink.write(bytes.subarray(-1));
      await sink.finish();
      expect(await ceph.snapshots(image)).toHaveLength(1);
    });
  });

  describe('an import that fails', () => {
    const spare = Buffer.alloc(MiB);

    const failure = async (bytes: Buffer, image: typeof source): Promise<unknown> => {
      const sink = ceph.importDiff(image);
      try {
        await sink.write(bytes);
        for (let count = 0; count < 20; count += 1) await sink.write(spare);
        await sink.finish();
      } catch (thrown) {
        await expect(sink.write(spare)).rejects.toEqual(thrown);
        return thrown;
      } finally {
        await sink.abort();
      }
      throw new Error('it did not fail');
    };

    it('says why, in the middle of the writing as well', async () => {
      const image = await newImage('refuses');
      expect(await failure(spare, image)).toMatchObject({
        code: 'CEPH_FAILED',
        message: expect.stringContaining('diff banner'),
      });
      expect(await failure(await read(increment), image)).toEqual(failsWith('SNAPSHOT_NOT_FOUND'));
      expect(await failure(await read(full), source)).toEqual(failsWith('SNAPSHOT_EXISTS'));
      expect(await failure(await read(full), { ...source, image: 'nobody' })).toEqual(failsWith('IMAGE_NOT_FOUND'));
      await expectFree(image);
    });

    it('does not disturb the process it runs in', async () => {
      const unhandled = once(process, 'unhandledRejection', { signal: AbortSignal.timeout(300) });
      const sink = ceph.importDiff({ ...source, image: 'nobody' });
      void sink.write(spare).catch(() => {});
      await expect(unhandled).rejects.toMatchObject({ name: 'AbortError' });
      await sink.abort();
    });
  });

  describe('a child that is killed', () => {
    it('is told from an end of the data', async () => {
      const chunks = ceph.exportDiff(source, full)[Symbol.asyncIterator]();
      await chunks.next();
      await world.killChildren('export-diff');
      const rest = async (): Promise<void> => {
        while ((await chunks.next()).done !== true);
      };
      await expect(rest()).rejects.toMatchObject({ code: 'CEPH_FAILED', message: expect.stringContaining('SIGKILL') });
    });

    it('is told from a broken pipe', async () => {
      const sink = ceph.importDiff(await newImage('killed'));
      await sink.write((await read(full)).subarray(0, MiB));
      await world.killChildren('import-diff');
      const more = sink.write(Buffer.alloc(10 * MiB));
      await expect(more).rejects.toMatchObject({ code: 'CEPH_FAILED', message: expect.stringContaining('SIGKILL') });
      await sink.abort();
    });
  });

  it('leaves a free image and no snapshot when the process that imports is killed', async () => {
    const image = await newImage('orphan');
    await world.importAndDie(image, (await read(full)).subarray(0, -1), async () => {
      expect(await ceph.watchers(image)).toHaveLength(1);
    });
    await expectFree(image, 'orphan');
    expect((await ceph.snapshots(image)).map(({ name }) => name)).toEqual(['orphan']);
  });
};
