import { createHash } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { applyWrites, randomBytes, sha256OfExport, startCluster, writeAt, type Cluster } from './cluster.js';
import { leftOver } from './left-over.js';

const MIB = 2 ** 20;

describe('two clusters side by side', () => {
  const started: Cluster[] = [];
  let source: Cluster;
  let backup: Cluster;

  beforeAll(async () => {
    const start = async (name: string, pool: string) => {
      const cluster = await startCluster({ name, pools: [pool] });
      started.push(cluster);
      return cluster;
    };
    [source, backup] = await Promise.all([start('source', 'rbd'), start('backup', 'store')]);
  }, 60_000);

  afterAll(() => Promise.all(started.map((cluster) => cluster.stop())), 30_000);

  test('know nothing of each other', async () => {
    await source.rbd(['create', '--size', '8M', 'rbd/only-here']);

    expect(source.fsid).not.toBe(backup.fsid);
    expect((await source.ceph(['fsid'])).stdout.trim()).toBe(source.fsid);
    expect((await backup.ceph(['fsid'])).stdout.trim()).toBe(backup.fsid);
    await expect(backup.rbd(['info', 'rbd/only-here'])).rejects.toThrow('error opening');
  });

  test("refuse the other cluster's key", async () => {
    const { keyringPath } = source.users.agent;
    const foreign = backup.rbd(['ls', 'store', '--keyring', keyringPath], { user: 'agent' });
    await expect(foreign).rejects.toThrow("couldn't connect to the cluster");
  });

  test('give the agent its pools, later ones too, and no other', async () => {
    await Promise.all(['late-1', 'late-2'].map((pool) => source.createPool(pool)));
    await source.createPool('foreign', { rbd: false });

    const create = (pool: string) => source.rbd(['create', '--size', '8M', `${pool}/vm`], { user: 'agent' });
    await create('rbd');
    await create('late-1');
    await create('late-2');
    await expect(create('foreign')).rejects.toThrow('Operation not permitted');
  });

  test('hold what was written, at odd offsets and over each other', async () => {
    const size = 24 * MIB;
    const expected = Buffer.alloc(size);
    const long = randomBytes('long', 9 * MIB + 1);
    const short = randomBytes('short', 777);
    await backup.rbd(['create', '--size', '24M', 'store/vm'], { user: 'receiver' });

    await writeAt(backup, 'store/vm', 12_345, long, { user: 'receiver' });
    long.copy(expected, 12_345);
    await applyWrites(
      backup,
      'store/vm',
      [
        { offset: size - short.length, data: short },
        { offset: 20_001, zero: 5 * MIB },
        { offset: 30_000, data: short },
      ],
      { user: 'receiver' },
    );
    short.copy(expected, size - short.length);
    expected.fill(0, 20_001, 20_001 + 5 * MIB);
    short.copy(expected, 30_000);

    await backup.rbd(['snap', 'create', '--no-progress', 'store/vm@one'], { user: 'receiver' });
    await writeAt(backup, 'store/vm', 0, short);
    const digest = createHash('sha256').update(expected).digest('hex');
    const ofSnapshot = sha256OfExport(backup, 'store/vm@one', { user: 'receiver' });
    expect(await ofSnapshot).toBe(digest);
    expect(await sha256OfExport(backup, 'store/vm')).not.toBe(digest);
  });

  test("refuse writes behind an image's end", async () => {
    await source.rbd(['create', '--size', '8M', 'rbd/small']);
    await expect(writeAt(source, 'rbd/small', 8 * MIB, randomBytes(1, 10))).rejects.toThrow('Invalid argument');
  });

  test('answer with the command and what it said when it fails', async () => {
    await expect(sha256OfExport(source, 'rbd/none')).rejects.toThrow(
      /command ended with 2: rbd .* export .*rbd\/none[^]*No such file or directory/,
    );
  });
});

test('random bytes are the same for a seed, and begin alike', () => {
  const bytes = randomBytes('a', 1000);
  expect(randomBytes('a', 100)).toEqual(bytes.subarray(0, 100));
  expect(randomBytes('b', 1000)).not.toEqual(bytes);
});

test('a command has a deadline, and names the daemons that are dead', async () => {
  const cluster = await startCluster({ name: 'frozen', pools: ['rbd'] });
  try {
    process.kill(pidOf(cluster, 'osd.0'), 'SIGKILL');
    process.kill(pidOf(cluster, 'mon.a'), 'SIGSTOP');
    const hung = cluster.rbd(['ls', 'rbd'], { timeoutMs: 1_000 });
    await expect(hung).rejects.toThrow(/longer than 1000 ms: rbd [^]*osd.0 ended with SIGKILL/);
  } finally {
    await cluster.stop();
  }
  expect(leftOver(cluster.dir)).toEqual([]);
}, 60_000);

test('a cluster with a manager, three OSDs and an erasure-coded pool', async () => {
  const cluster = await startCluster({ name: 'large', manager: true, osds: 3, pools: ['rbd'] });
  try {
    await cluster.createPool('data', { erasure: true });
    const create = ['create', '--size', '8M', '--data-pool', 'data', 'rbd/vm'];
    await cluster.rbd(create, { user: 'agent' });
    const bytes = randomBytes('ec', 8 * MIB);
    await writeAt(cluster, 'rbd/vm', 0, bytes, { user: 'agent' });
    expect(await sha256OfExport(cluster, 'rbd/vm', { user: 'agent' })).toBe(
      createHash('sha256').update(bytes).digest('hex'),
    );
    // The manager hears of a new pool with its next report.
    await expect
      .poll(async () => (await cluster.ceph(['df'])).stdout, { timeout: 60_000, interval: 1_000 })
      .toContain('data');
  } finally {
    await cluster.stop();
  }
}, 90_000);

test("bluestore, with settings of the caller's", async () => {
  const cluster = await startCluster({
    name: 'blue',
    objectStore: 'bluestore',
    extraConf: { mon_allow_pool_delete: 'false' },
    pools: ['rbd'],
  });
  try {
    await cluster.rbd(['create', '--size', '8M', 'rbd/vm'], { user: 'agent' });
    await writeAt(cluster, 'rbd/vm', 5, randomBytes(1, MIB), { user: 'agent' });
    const remove = ['osd', 'pool', 'rm', 'rbd', 'rbd', '--yes-i-really-really-mean-it'];
    await expect(cluster.ceph(remove)).rejects.toThrow('mon_allow_pool_delete');
  } finally {
    await cluster.stop();
  }
  expect(leftOver(cluster.dir)).toEqual([]);
}, 90_000);

function pidOf(cluster: Cluster, daemon: string): number {
  const pid = cluster.daemonPids().get(daemon);
  if (pid === undefined) throw new Error(`${daemon} does not run`);
  return pid;
}
