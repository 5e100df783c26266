import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { createCeph, createLibrbd } from '@rbdferry/core/ceph/create-ceph.js';
import type { CephPort, ImageLayout } from '@rbdferry/core/ceph/port.js';
import { toFerryError } from '@rbdferry/core/errors/ferry-error.js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startCluster, type Cluster } from '../ceph/cluster.js';

/** The helper on a real cluster: killed, stopped and shut out in the middle of what it does. */
const where = { pool: 'rbd', namespace: '' };
const image = { ...where, image: 'vm' };
const layout: ImageLayout = {
  sizeBytes: 64n * 1024n * 1024n,
  objectSizeBytes: 4 * 1024 * 1024,
  stripeUnitBytes: 4 * 1024 * 1024,
  stripeCount: 1,
  features: ['layering', 'exclusive-lock', 'object-map', 'fast-diff'],
  dataPool: null,
};

let cluster: Cluster;
let ceph: CephPort;
let client: () => Promise<{ pid: number; address: string }>;
const warnings: object[] = [];

beforeAll(async () => {
  cluster = await startCluster({ name: 'helper', pools: ['rbd'] });
  const { name, keyringPath } = cluster.users.agent;
  const log = { debug: () => {}, warn: (fields: object) => warnings.push(fields) };
  const made = createLibrbd({
    conf: cluster.confPath,
    user: name,
    keyring: keyringPath,
    deadlines: { commandMs: 5_000, stallMs: 5_000 },
    log,
  });
  ({ ceph } = made);
  client = async () => {
    await ceph.list(where);
    const found = await made.helper.client();
    if (found === null) throw new Error('no helper');
    return found;
  };
  await ceph.create(image, layout);
  await ceph.createSnapshot(image, 'base');
  await ceph.setMetadata(image, 'key', 'value');
});

afterAll(() => cluster?.stop());

/** What a call came to: undefined when it was carried out, or its code. */
const codeOf = async (call: Promise<unknown>): Promise<string | undefined> => {
  try {
    await call;
    return undefined;
  } catch (thrown) {
    return toFerryError(thrown).code;
  }
};

/** A lock that a dead client leaves makes the next one wait for 30 s. */
const noLongWait = async (work: () => Promise<unknown>): Promise<void> => {
  const begin = performance.now();
  await work();
  expect(performance.now() - begin).toBeLessThan(10_000);
};

describe('a helper that is killed', () => {
  const reading: [string, () => Promise<unknown>][] = [
    ['info', () => ceph.info(image)],
    ['snapshots', () => ceph.snapshots(image)],
    ['metadata', () => ceph.metadata(image)],
    ['list', () => ceph.list(where)],
    ['listWithSnapshots', () => ceph.listWithSnapshots(where)],
    ['watchers', () => ceph.watchers(image)],
    ['trash', () => ceph.trash(where)],
    ['diffExtents', () => ceph.diffExtents(image, { snap: 'base', fromSnap: null })],
    ['headMayDiffer', () => ceph.headMayDiffer(image, 'base')],
  ];

  it.each(reading)('takes no question with it: %s', async (_, ask) => {
    const before = await ask();
    for (const ms of [0, 2, 5]) {
      const { pid } = await client();
      const answer = ask();
      await sleep(ms);
      process.kill(pid, 'SIGKILL');
      expect(await answer).toEqual(before);
    }
  });

  it('in a change leaves it done or not done, and no lock', async () => {
    for (let ms = 0; ms < 40; ms += 4) {
      const snap = `at-${ms}`;
      const { pid } = await client();
      const change = codeOf(ceph.createSnapshot(image, snap));
      await sleep(ms);
      process.kill(pid, 'SIGKILL');
      const code = await change;
      expect([undefined, 'CEPH_UNAVAILABLE']).toContain(code);
      await noLongWait(async () => {
        const isThere = (await ceph.snapshots(image)).some(({ name }) => name === snap);
        if (code === undefined) expect(isThere).toBe(true);
        expect(await ceph.removeSnapshot(image, snap)).toBe(isThere);
        await ceph.setMetadata(image, 'key', `after ${ms}`);
      });
      expect(await ceph.watchers(image)).toEqual([]);
    }
    expect((await ceph.snapshots(image)).map(({ name }) => name)).toEqual(['base']);
    expect(await ceph.hiddenSnapshots(image)).toEqual([]);
  });
});

it('a helper that is stopped costs a change its deadline, and nobody a lock', async () => {
  process.kill((await client()).pid, 'SIGSTOP');
  const asked = [codeOf(ceph.setMetadata(image, 'key', 'late')), codeOf(ceph.info(image))];
  expect(await Promise.all(asked)).toEqual(['CEPH_TIMEOUT', 'CEPH_TIMEOUT']);
  await noLongWait(() => ceph.setMetadata(image, 'key', 'after'));
  expect((await ceph.metadata(image)).get('key')).toBe('after');
});

it('a helper that was shut out of the cluster is replaced', async () => {
  const before = await client();
  await cluster.ceph(['osd', 'blocklist', 'add', before.address]);
  expect(await codeOf(ceph.setMetadata(image, 'key', 'shut out'))).toBe('CEPH_UNAVAILABLE');
  expect((await ceph.info(image)).name).toBe('vm');
  await ceph.setMetadata(image, 'key', 'again');
  expect((await client()).pid).not.toBe(before.pid);
  expect(warnings).toEqual([]);
});

it('image-meta of ours needs no lock, but goes through librbd where a journal must get it', async () => {
  const journaled = { ...image, image: 'journaled' };
  await ceph.create(journaled, { ...layout, features: ['layering', 'exclusive-lock', 'journaling'] });
  for (const each of [image, journaled]) {
    await ceph.setMetadata(each, 'rbdferry.test', 'ü');
    expect((await ceph.metadata(each)).get('rbdferry.test')).toBe('ü');
    expect(await ceph.removeMetadata(each, 'rbdferry.test')).toBe(true);
    expect(await ceph.removeMetadata(each, 'rbdferry.test')).toBe(false);
  }
  const { id } = await ceph.info(journaled);
  await ceph.remove(journaled);
  expect(await codeOf(ceph.setMetadata(journaled, 'rbdferry.test', 'late'))).toBe('IMAGE_NOT_FOUND');
  // Nor is a header made for an image that is gone.
  expect(await codeOf(ceph.metadataEntries(journaled, id))).toBe('IMAGE_NOT_FOUND');
});

describe('a librbd that cannot be loaded', () => {
  const withBrokenLibrary = async (use: (why: unknown) => Promise<void>): Promise<void> => {
    const library = path.join(cluster.dir, 'librbd.so.1');
    await writeFile(library, 'no library');
    process.env['LD_LIBRARY_PATH'] = cluster.dir;
    try {
      await use(expect.stringContaining(library));
    } finally {
      delete process.env['LD_LIBRARY_PATH'];
    }
  };
  const options = () => ({ conf: cluster.confPath, user: cluster.users.agent.name });

  it('is told, and the rbd program does it all', () =>
    withBrokenLibrary(async (why) => {
      const { adapter } = await createCeph({ ...options(), adapter: 'auto' });
      expect(adapter).toEqual({ kind: 'cli', why });
    }));

  it('fails every call where nothing else was wanted', () =>
    withBrokenLibrary(async (why) => {
      const chosen = await createCeph({ ...options(), adapter: 'librbd' });
      expect(chosen.adapter).toEqual({ kind: 'librbd', why });
      await expect(chosen.ceph.list(where)).rejects.toMatchObject({ code: 'CEPH_NOT_INSTALLED', message: why });
    }));
});
