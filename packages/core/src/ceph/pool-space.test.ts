import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { CephPort } from './port.js';
import { createRbdCli, type Deadlines } from './rbd-cli.js';

/** What is asked of a cluster while a write waits, with shell scripts in the place of `rbd` and `ceph`. */
let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(path.join(tmpdir(), 'room-'));
});
afterAll(() => rm(dir, { recursive: true, force: true }));

const image = { pool: 'rbd', namespace: '', image: 'vm1' };
const poolsWith = (flags: Record<string, string>, set: readonly string[] = []): string =>
  JSON.stringify({
    flags_set: set,
    pools: Object.entries(flags).map(([pool_name, flags_names]) => ({ pool_name, flags_names })),
  });

let made = 0;
/** An `rbd` whose image has its data in the pool `data`, and which does `script` for anything else than `info`. */
const withCluster = async (
  script: string,
  dump: string,
  deadlines: Partial<Deadlines> = {},
): Promise<{ ceph: CephPort; asked: () => Promise<number> }> => {
  made += 1;
  const file = (name: string) => path.join(dir, `${made}-${name}`);
  const info = JSON.stringify({ id: 'x', name: 'vm', size: 1, object_size: 1, features: [], data_pool: 'data' });
  await writeFile(file('rbd'), `#!/bin/bash\ncase " $* " in *' info '*) echo '${info}'; exit;; esac\n${script}\n`, {
    mode: 0o700,
  });
  await writeFile(file('ceph'), `#!/bin/bash\necho "$*" >> '${file('asked')}'\necho '${dump}'\n`, { mode: 0o700 });
  const options = { conf: '/c', user: 'agent', rbdPath: file('rbd'), cephPath: file('ceph') };
  return {
    ceph: createRbdCli({
      ...options,
      deadlines: { commandMs: 5_000, fullMs: 100, leastAgeMs: 0, killGraceMs: 200, closeGraceMs: 200, ...deadlines },
    }),
    asked: async () => (await readFile(file('asked'), 'utf8').catch(() => '')).split('\n').length - 1,
  };
};

const forEver = 'exec sleep 60';
const noSpaceIn = (pool: string) =>
  expect.objectContaining({ code: 'CEPH_NO_SPACE', message: expect.stringContaining(`the pool "${pool}" is full`) });

describe('a write that waits', () => {
  it.each([
    ['its pool is full', poolsWith({ rbd: 'hashpspool,full' })],
    ['its pool is over its quota', poolsWith({ rbd: 'full_quota,hashpspool' })],
    ['the whole cluster is full', poolsWith({ rbd: 'hashpspool' }, ['sortbitwise', 'full'])],
  ])('fails when %s', async (_, dump) => {
    const { ceph } = await withCluster(forEver, dump);
    await expect(ceph.createSnapshot(image, 's')).rejects.toEqual(noSpaceIn('rbd'));
  });

  it('needs room in the data pool as well, where it writes data', async () => {
    const { ceph } = await withCluster(forEver, poolsWith({ rbd: '', data: 'full' }), {
      commandMs: 700,
      stallMs: 5_000,
    });
    await expect(ceph.rollback(image, 's')).rejects.toEqual(noSpaceIn('data'));
    const sink = ceph.importDiff(image);
    await expect(sink.finish()).rejects.toEqual(noSpaceIn('data'));
    await sink.abort();
    // A snapshot is written in the image's own pool.
    await expect(ceph.createSnapshot(image, 's')).rejects.toEqual(expect.objectContaining({ code: 'CEPH_TIMEOUT' }));
  });

  it.each([
    ['another pool is full', poolsWith({ rbd: 'nearfull,backfillfull', other: 'full' })],
    ['the answer is none', 'Error EACCES: access denied'],
  ])('waits on when %s', async (_, dump) => {
    const { ceph, asked } = await withCluster(forEver, dump, { commandMs: 900 });
    await expect(ceph.createSnapshot(image, 's')).rejects.toEqual(expect.objectContaining({ code: 'CEPH_TIMEOUT' }));
    expect(await asked()).toBeGreaterThan(1);
  });
});

it('nothing is asked while all is well, nor about what only reads or removes', async () => {
  // A machine that is busy may take long to start a program.
  const { ceph, asked } = await withCluster('exit 0', poolsWith({ rbd: 'full' }), { fullMs: 4_000 });
  await ceph.createSnapshot(image, 's');
  const slow = await withCluster('sleep 0.4; echo "[]"', poolsWith({ rbd: 'full' }));
  await slow.ceph.snapshots(image);
  await slow.ceph.removeSnapshot(image, 's');
  await slow.ceph.remove(image);
  expect([await asked(), await slow.asked()]).toEqual([0, 0]);
});
