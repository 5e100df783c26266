import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { BackupKind } from '@rbdferry/core/gen/rbdferry/v1/model.js';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { applyWrites, randomBytes, sha256OfExport, type Cluster } from '../ceph/cluster.js';
import { Control, hasEnded, phaseOf, totalBytesOf } from '../harness/control.js';
import { damagedRbd, type DamagedRbd } from '../harness/damaged-rbd.js';
import { expectError } from '../harness/expect-error.js';
import { imageNames, snapNames } from '../harness/look.js';
import { startPair, type Pair } from '../harness/pair.js';

/** What only Ceph shows of data that is damaged, stuck or too much, through the command line; the other codes are in house/codes.test.ts. */
let pair: Pair;
let rbd: DamagedRbd;
let binDir: string;
/** The first backup, and the content it has. */
let first = { id: '', sha256: '' };

/** Makes the cluster full, or roomy again, and waits until its clients notice. */
const setFull = async (cluster: Cluster, full: boolean): Promise<void> => {
  const ratios = full ? [1e-7, 1e-7, 1e-7] : [0.85, 0.9, 0.95];
  const names = ['nearfull', 'backfillfull', 'full'];
  await Promise.all(names.map((name, index) => cluster.ceph(['osd', `set-${name}-ratio`, `${ratios[index]}`])));
  for (let tries = 0; tries < 200; tries += 1) {
    if ((await cluster.ceph(['health'])).stdout.includes('pool(s) full') === full) return;
    await sleep(100);
  }
  throw new Error(`the cluster did not become ${full ? 'full' : 'roomy'}`);
};

const snapOf = (id: string): string => id.slice(id.indexOf('@') + 1);
const chainOf = (id: string): string => id.slice(0, id.indexOf('@'));

beforeAll(async () => {
  binDir = await mkdtemp(join(tmpdir(), 'rbdferry-damaged-'));
  rbd = await damagedRbd(binDir);
  pair = await startPair({ name: 'data', env: rbd.env });
  for (const image of ['rbd/vm', 'rbd/other']) await pair.source.rbd(['create', '--size', '16M', image]);
  await applyWrites(pair.source, 'rbd/vm', [{ offset: 5000, data: randomBytes('data', 3_000_000) }]);
  const id = await pair.ok('backup', 'rbd/vm');
  first = { id, sha256: await sha256OfExport(pair.source, `rbd/vm@${snapOf(id)}`) };
});

/** Whatever it was: nothing of it is left, and the backup before it is what it was. */
afterEach(async () => {
  await rbd.heal();
  expect(await imageNames(pair.source, 'rbd')).toEqual(['other', 'vm']);
  expect(await snapNames(pair.source, 'rbd/vm')).toEqual([snapOf(first.id)]);
  expect(await imageNames(pair.backup, 'rbd2')).toHaveLength(1);
  expect(await sha256OfExport(pair.backup, first.id)).toBe(first.sha256);
});

afterAll(async () => {
  await pair?.stop();
  await rm(binDir, { recursive: true, force: true });
});

/** `rbd export-diff` reads about 40 objects ahead, and what is destroyed meanwhile as zeros: it exits with 0 all the same. */
describe('SOURCE_CHANGED: what is read is destroyed while it is read', () => {
  const destroyWhile = (of: 'agent' | 'receiver', destroy: string) =>
    rbd.instead([`export-diff`, `--id ${of}`], `real | { head -c 1000000; ${destroy}; cat; }`);
  const rbdOf = (cluster: Cluster): string => `/usr/bin/rbd ${cluster.connectArgs().join(' ')}`;
  const removal = (cluster: Cluster, image: string): string =>
    `{ ${rbdOf(cluster)} snap purge ${image}; ${rbdOf(cluster)} rm ${image}; } >/dev/null 2>&1`;

  const writeGone = async (): Promise<void> => {
    await pair.source.rbd(['create', '--size', '100M', '--object-size', '1M', 'rbd/gone']);
    await applyWrites(pair.source, 'rbd/gone', [{ offset: 0, data: randomBytes('gone', 100_000_000) }]);
  };

  it('a backup of an image that is removed is none, and one of an image that is renamed neither', async () => {
    await writeGone();
    await destroyWhile('agent', removal(pair.source, 'rbd/gone'));
    expectError(await pair.cli('backup', 'rbd/gone'), 'SOURCE_CHANGED', 54, 'rbd/gone@');
    await writeGone();
    const other = `${rbdOf(pair.source)} rename rbd/gone rbd/went`;
    await destroyWhile('agent', other);
    expectError(await pair.cli('backup', 'rbd/gone'), 'SOURCE_CHANGED', 54, 'rbd/gone@');
    expect(await snapNames(pair.source, 'rbd/went')).toEqual([]);
    await pair.source.rbd(['rm', 'rbd/went']);
  });

  it('a backup whose base goes is none', async () => {
    await rbd.heal();
    await writeGone();
    const base = await pair.ok('backup', 'rbd/gone');
    await applyWrites(pair.source, 'rbd/gone', [{ offset: 0, data: randomBytes('more', 90_000_000) }]);
    await destroyWhile('agent', `${rbdOf(pair.source)} snap rm --no-progress rbd/gone@${snapOf(base)}`);
    expectError(await pair.cli('backup', 'rbd/gone'), 'SOURCE_CHANGED', 54, snapOf(base));
    expect(await snapNames(pair.source, 'rbd/gone')).toEqual([]);
    expect(await snapNames(pair.backup, chainOf(base))).toEqual([snapOf(base)]);

    await destroyWhile('receiver', removal(pair.backup, chainOf(base)));
    expectError(await pair.cli('restore', base, '--to', 'rbd/back'), 'SOURCE_CHANGED', 54, chainOf(base));
    await pair.source.rbd(['rm', 'rbd/gone']);
  });
});

/** Backs rbd/vm up after a change. */
const next = async (seed: string, ...args: string[]): Promise<{ id: string; sha256: string }> => {
  await applyWrites(pair.source, 'rbd/vm', [{ offset: 9000, data: randomBytes(seed, 1_000_000) }]);
  const id = await pair.ok('backup', 'rbd/vm', ...args);
  return { id, sha256: await sha256OfExport(pair.source, `rbd/vm@${snapOf(id)}`) };
};

/** Starts a backup that does not go on before the file is there. */
const heldBackup = async (image = 'rbd/vm'): Promise<{ jobId: string; gate: string }> => {
  const gate = join(pair.dir, `gate-${Date.now()}`);
  await rbd.instead(['export-diff'], `until [ -e '${gate}' ]; do sleep 0.05; done; real`);
  const { id: jobId } = JSON.parse(await pair.ok('backup', image, '--async', '--json')) as { id: string };
  return { jobId, gate };
};

describe('while a job runs', () => {
  it('a restore of an increment says how much there will be', async () => {
    first = await next('increment');
    // A hundredth of the speed, for the first few seconds.
    const slowly = 'for i in $(seq 70); do head -c 40000; sleep 0.1; done; cat';
    await rbd.instead(['export-diff', '--id receiver'], `real | (${slowly})`);
    const control = new Control(pair.socket);
    try {
      const { id } = await control.startRestore(first.id, 'rbd/back');
      const known = await control.until(id, (job) => totalBytesOf(job) !== undefined || hasEnded(job));
      const end = await control.until(id, hasEnded);
      expect(known.backupKind).toBe(BackupKind.INCREMENTAL);
      const bytes = end.state?.$case === 'committed' ? Number(end.state.value.streamBytes) : 0;
      expect(bytes).toBeGreaterThan(3_000_000);
      expect(Number(totalBytesOf(known))).toBeGreaterThanOrEqual(bytes);
      expect(Number(totalBytesOf(known))).toBeLessThan(bytes + 10_000);
    } finally {
      control.close();
    }
    expect(await sha256OfExport(pair.source, 'rbd/back')).toBe(first.sha256);
    await pair.source.rbd(['snap', 'purge', 'rbd/back']);
    await pair.source.rbd(['rm', 'rbd/back']);
  });

  /** Calls a job off that waits for an `import-diff` which takes nothing; its stall timeout is ten minutes. */
  const cancelStalled = async (user: string, ...start: string[]): Promise<void> => {
    await rbd.instead(['import-diff', `--id ${user}`], 'exec sleep 600');
    const { id } = JSON.parse(await pair.ok(...start, '--async', '--json')) as { id: string };
    await stuck(id);
    await pair.ok('job', 'cancel', id);
    expectError(await pair.cli('job', 'wait', id), 'CANCELLED', 130, id);
    await rbd.heal();
  };

  /** Waits until the job transfers, and a second more: by then its first write waits. */
  const stuck = async (jobId: string): Promise<void> => {
    const control = new Control(pair.socket);
    await control.until(jobId, (job) => phaseOf(job) === 'transfer' || hasEnded(job));
    control.close();
    await sleep(1000);
  };

  it('CANCELLED: the backup is stuck, and the next one is not', async () => {
    await applyWrites(pair.source, 'rbd/vm', [{ offset: 9000, data: randomBytes('stuck', 3_000_000) }]);
    await cancelStalled('receiver', 'backup', 'rbd/vm');
    const id = await pair.ok('backup', 'rbd/vm');
    first = { id, sha256: await sha256OfExport(pair.source, `rbd/vm@${snapOf(id)}`) };
  });

  it('CANCELLED: the restore is stuck', async () => {
    await cancelStalled('agent', 'restore', first.id, '--to', 'rbd/back');
  });
});

describe('CEPH_NO_SPACE: a cluster that is really full', () => {
  const full = (pool: string): string => `the pool "${pool}" is full or over its quota`;

  it('the backup cluster, in the middle of a transfer: it takes no other one, and lets go of backups', async () => {
    const oldChain = chainOf(first.id);
    const second = await next('one', '--mode', 'full');
    first = await next('two');
    await applyWrites(pair.source, 'rbd/other', [{ offset: 0, data: randomBytes('other', 12_000_000) }]);
    const { jobId, gate } = await heldBackup('rbd/other');
    await inTransfer(jobId);
    expect(await imageNames(pair.backup, 'rbd2')).toHaveLength(3);
    await setFull(pair.backup, true);
    try {
      await writeFile(gate, '');
      const [waited] = await Promise.all([pair.cli('job', 'wait', jobId), meanwhile(second.id, oldChain)]);
      expectError(waited, 'CEPH_NO_SPACE', 63, full('rbd2'));
      // What had arrived of the transfer goes too, though the cluster is full.
      for (let tries = 0; tries < 120 && (await imageNames(pair.backup, 'rbd2')).length > 1; tries += 1)
        await sleep(500);
      expect(await imageNames(pair.backup, 'rbd2')).toEqual([chainOf(first.id).slice('rbd2/'.length)]);
    } finally {
      await setFull(pair.backup, false);
    }
    expect(await snapNames(pair.source, 'rbd/other')).toEqual([]);
    first = await next('three', '--mode', 'incr');
  });

  /** What a full backup cluster refuses, and what it does. */
  const meanwhile = async (middle: string, chain: string): Promise<void> => {
    expectError(await pair.cli('backup', 'rbd/vm'), 'CEPH_NO_SPACE', 63, full('rbd2'));
    expectError(await pair.cli('backup', 'rbd/vm', '--mode', 'full'), 'CEPH_NO_SPACE', 63, full('rbd2'));
    expect(await pair.ok('delete', middle)).toBe(middle);
    expect(await snapNames(pair.backup, chainOf(first.id))).toEqual([snapOf(first.id)]);
    await pair.ok('delete', '--chain', chain);
    expect(await imageNames(pair.backup, 'rbd2')).not.toContain(chain.slice('rbd2/'.length));
  };

  it('the production cluster takes no restore', async () => {
    await setFull(pair.source, true);
    try {
      expectError(await pair.cli('restore', first.id, '--to', 'rbd/back'), 'CEPH_NO_SPACE', 63, full('rbd'));
    } finally {
      await setFull(pair.source, false);
    }
  });

  const inTransfer = async (jobId: string): Promise<void> => {
    const control = new Control(pair.socket);
    const job = await control.until(jobId, (each) => phaseOf(each) === 'transfer' || hasEnded(each));
    control.close();
    expect(phaseOf(job)).toBe('transfer');
  };
});
