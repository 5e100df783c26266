import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { CephPort, DiffRange } from '@rbdferry/core/ceph/port.js';
import { createRbdCli } from '@rbdferry/core/ceph/rbd-cli.js';
import { FerryError } from '@rbdferry/core/errors/ferry-error.js';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { randomBytes, sha256OfExport, startCluster, writeAt, type Cluster } from '../ceph/cluster.js';

/** Diffs out of and into images, and every way in which that may end, on real Ceph. */
const MiB = 1024 * 1024;
const where = { pool: 'rbd', namespace: '' };
const source = { ...where, image: 'source' };
const full: DiffRange = { snap: 's1', fromSnap: null };
const increment: DiffRange = { snap: 's2', fromSnap: 's1' };

let cluster: Cluster;
let ceph: CephPort;

beforeAll(async () => {
  cluster = await startCluster({ name: 'streams', pools: ['rbd'] });
  const { name, keyringPath } = cluster.users.receiver;
  ceph = createRbdCli({ conf: cluster.confPath, user: name, keyring: keyringPath });
  await newImage(source.image);
  await writeAt(cluster, 'rbd/source', 0, randomBytes('one', 48 * MiB));
  await ceph.createSnapshot(source, 's1');
  await writeAt(cluster, 'rbd/source', 4096, randomBytes('two', 4 * MiB));
  await ceph.createSnapshot(source, 's2');
});

afterAll(() => cluster?.stop());

const newImage = async (name: string, features = ['layering', 'exclusive-lock', 'object-map', 'fast-diff']) => {
  const image = { ...where, image: name };
  const size = { sizeBytes: BigInt(64 * MiB), objectSizeBytes: 4 * MiB, stripeUnitBytes: 4 * MiB, stripeCount: 1 };
  await ceph.create(image, { ...size, features, dataPool: null });
  return image;
};

const read = async (range: DiffRange, signal?: AbortSignal): Promise<Buffer> => {
  const chunks: Uint8Array[] = [];
  for await (const chunk of ceph.exportDiff(source, range, { signal })) chunks.push(chunk);
  return Buffer.concat(chunks);
};

const timed = async (work: () => Promise<unknown>): Promise<number> => {
  const begin = performance.now();
  await work();
  return performance.now() - begin;
};

/** A lock or watcher of a dead client would make this take 30 s. */
const expectFree = async (image: typeof source, snap = `free-${Math.random()}`): Promise<void> => {
  expect(await timed(() => ceph.createSnapshot(image, snap))).toBeLessThan(2_000);
  expect(await ceph.watchers(image)).toEqual([]);
};

const failsWith = (code: string) => expect.objectContaining({ code });

describe('a diff', () => {
  it('goes from one image to another, in full and as an increment', async () => {
    const target = await newImage('target');
    for (const range of [full, increment]) {
      const sink = ceph.importDiff(target);
      for await (const chunk of ceph.exportDiff(source, range)) await sink.write(chunk);
      await sink.finish();
    }
    expect((await ceph.snapshots(target)).map(({ name }) => name)).toEqual(['s1', 's2']);
    for (const snap of ['s1', 's2']) {
      expect(await sha256OfExport(cluster, `rbd/target@${snap}`)).toBe(
        await sha256OfExport(cluster, `rbd/source@${snap}`),
      );
    }
    await expectFree(target);
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

  it('leaves nothing behind when nobody wants the rest', async () => {
    const took = await timed(async () => {
      for await (const _ of ceph.exportDiff(source, full)) break;
    });
    expect(took).toBeLessThan(2_000);
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
    expect(await timed(() => sink.abort())).toBeLessThan(2_000);
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
    expect(took).toBeLessThan(2_000);
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

/** Our own children that run this verb. */
const childPids = async (verb: string): Promise<number[]> => {
  const pids = (await readFile(`/proc/${process.pid}/task/${process.pid}/children`, 'utf8'))
    .trim()
    .split(' ')
    .map(Number);
  const argv = await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')));
  return pids.filter((_, index) => argv[index]?.split('\0').includes(verb));
};

describe('a child that is killed', () => {
  it('is told from an end of the data', async () => {
    const chunks = ceph.exportDiff(source, full)[Symbol.asyncIterator]();
    await chunks.next();
    for (const pid of await childPids('export-diff')) process.kill(pid, 'SIGKILL');
    const rest = async (): Promise<void> => {
      while ((await chunks.next()).done !== true);
    };
    await expect(rest()).rejects.toMatchObject({ code: 'CEPH_FAILED', message: expect.stringContaining('SIGKILL') });
  });

  it('is told from a broken pipe', async () => {
    const sink = ceph.importDiff(await newImage('killed'));
    await sink.write((await read(full)).subarray(0, MiB));
    for (const pid of await childPids('import-diff')) process.kill(pid, 'SIGKILL');
    const more = sink.write(Buffer.alloc(10 * MiB));
    await expect(more).rejects.toMatchObject({ code: 'CEPH_FAILED', message: expect.stringContaining('SIGKILL') });
    await sink.abort();
  });
});

it('leaves a free image and no snapshot when the process that imports is killed', async () => {
  const image = await newImage('orphan');
  const options = { conf: cluster.confPath, user: 'receiver', keyring: cluster.users.receiver.keyringPath };
  const program = `
    import { createRbdCli } from '@rbdferry/core/ceph/rbd-cli.js';
    const sink = createRbdCli(${JSON.stringify(options)}).importDiff(${JSON.stringify(image)});
    for await (const chunk of process.stdin) await sink.write(chunk);
    console.log('written');
    setInterval(() => {}, 1000);`;
  const importer = execa(process.execPath, ['--input-type=module', '--eval', program], {
    reject: false,
    input: (await read(full)).subarray(0, -1),
    cwd: import.meta.dirname,
  });
  await once(importer.stdout, 'data');
  expect(await ceph.watchers(image)).toHaveLength(1);
  importer.kill('SIGKILL');
  await importer;
  await expectFree(image, 'orphan');
  expect((await ceph.snapshots(image)).map(({ name }) => name)).toEqual(['orphan']);
});
