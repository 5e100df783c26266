import { chmod, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { CephPort, ImageLayout } from '@rbdferry/core/ceph/port.js';
import { layoutDifference } from '@rbdferry/core/ceph/layout-difference.js';
import { createLibrbd } from '@rbdferry/core/ceph/create-ceph.js';
import { createRbdCli, type RbdCliOptions } from '@rbdferry/core/ceph/rbd-cli.js';
import { encodeDataHeader, encodeEnd, encodeHeader } from '@rbdferry/core/diff/diff-writer.js';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { startCluster, type Cluster } from '../ceph/cluster.js';
import { makeFormat1Image } from '../ceph/format-1.js';

/** A cluster that cannot be reached, refuses, hangs or is full. */
const MiB = 1024 * 1024;
const where = { pool: 'rbd', namespace: '' };
const image = { ...where, image: 'vm' };
const layout: ImageLayout = {
  sizeBytes: BigInt(64 * MiB),
  objectSizeBytes: 4 * MiB,
  stripeUnitBytes: 4 * MiB,
  stripeCount: 1,
  features: ['layering', 'exclusive-lock', 'object-map'],
  dataPool: null,
};

describe.each(['cli', 'librbd'] as const)('through %s', (adapter) => {
  const isCli = adapter === 'cli';
  let cluster: Cluster;
  let ceph: CephPort;

  beforeAll(async () => {
    cluster = await startCluster({ name: `trouble-${adapter}`, pools: ['rbd'] });
    ceph = as({});
    // Without this nothing could be removed once the cluster is full.
    await ceph.prepareRemovals(where);
    await ceph.prepareRemovals(where);
    await ceph.create(image, layout);
    await ceph.createSnapshot(image, 's1');
    await ceph.createSnapshot(image, 's2');
    await ceph.setMetadata(image, 'facts', '{"text":"ü"}');
    await ceph.setMetadata(image, 'large', 'x'.repeat(100_000));
  });

  afterAll(() => cluster?.stop());

  const as = (options: Partial<RbdCliOptions>): CephPort => {
    const { name, keyringPath } = cluster.users.agent;
    const all = { conf: cluster.confPath, user: name, keyring: keyringPath, ...options };
    return isCli ? createRbdCli(all) : createLibrbd(all).ceph;
  };

  const inCluster = async (name: string, text: string): Promise<string> => {
    const file = path.join(cluster.dir, name);
    await writeFile(file, text);
    return file;
  };

  const failsWith = (code: string) => expect.objectContaining({ code });

  const timed = async (work: () => Promise<unknown>): Promise<number> => {
    const begin = performance.now();
    await work();
    return performance.now() - begin;
  };

  describe('a cluster that cannot be reached', () => {
    const unreachable = async (options: Partial<RbdCliOptions>): Promise<void> => {
      const port = as({ ...options, deadlines: { connectMs: 1_000 } });
      await expect(port.list(where)).rejects.toEqual(failsWith('CEPH_UNAVAILABLE'));
      await expect(port.info(image)).rejects.toEqual(failsWith('CEPH_UNAVAILABLE'));
      await expect(port.remove(image)).rejects.toEqual(failsWith('CEPH_UNAVAILABLE'));
      await expect(port.fsid()).rejects.toEqual(failsWith('CEPH_UNAVAILABLE'));
      const sink = port.importDiff(image);
      await expect(sink.finish()).rejects.toEqual(failsWith('CEPH_UNAVAILABLE'));
      const source = port.exportDiff(image, { snap: 's1', fromSnap: null });
      await expect(source[Symbol.asyncIterator]().next()).rejects.toEqual(failsWith('CEPH_UNAVAILABLE'));
    };

    it('has no ceph.conf', () => unreachable({ conf: '/nope/ceph.conf' }));
    it('has a malformed ceph.conf', async () => unreachable({ conf: await inCluster('bad.conf', '[global') }));
    it('has no monitor in it', async () => unreachable({ conf: await inCluster('empty.conf', '[global]\n') }));
    it('has a monitor without an address', async () =>
      unreachable({ conf: await inCluster('name.conf', '[global]\nmon_host = nowhere.invalid\n') }));
    it('has a dead monitor', async () =>
      unreachable({ conf: await inCluster('dead.conf', '[global]\nmon_host = 127.0.0.1:1\n') }));
    it('has a keyring that is not there', () => unreachable({ keyring: '/nope/keyring' }));
    it('has a malformed keyring', async () => unreachable({ keyring: await inCluster('bad.keyring', 'garbage') }));
    it('does not know the user', () => unreachable({ user: 'nobody' }));
    it('does not know the key', async () => {
      const text = await readFile(cluster.users.agent.keyringPath, 'utf8');
      const wrong = text.replace(/key = .*/, 'key = AQBPaMpnAAAAABAAZGVhZGJlZWZkZWFkYmVlZg==');
      await unreachable({ keyring: await inCluster('wrong.keyring', wrong) });
    });
  });

  it('refuses what a user may not do', async () => {
    const { name, keyringPath } = await cluster.addUser('reader', {
      mon: 'profile rbd',
      osd: 'profile rbd-read-only pool=rbd',
    });
    await chmod(keyringPath, 0o600);
    const reader = as({ user: name, keyring: keyringPath });
    expect((await reader.info(image)).sizeBytes).toBe(layout.sizeBytes);
    const changes = [
      reader.create({ ...image, image: 'new' }, layout),
      reader.createSnapshot(image, 's3'),
      reader.removeSnapshot(image, 's1'),
      reader.rollback(image, 's1'),
      reader.setMetadata(image, 'k', 'v'),
      reader.remove(image),
      reader.moveToTrash(image, new Date()),
      reader.rename(image, { ...image, image: 'new' }),
      reader.importDiff(image).finish(),
    ];
    await Promise.all(changes.map((change) => expect(change).rejects.toEqual(failsWith('CEPH_PERMISSION'))));
  });

  it('is not taken in by an admin socket and a log file that cannot be made', async () => {
    const settings =
      'admin_socket = /nope/$name.asok\nlog_file = /nope/$name.log\ndebug_rbd = 20\nlog_to_stderr = true\n';
    const text = await readFile(cluster.confPath, 'utf8');
    const conf = await inCluster('noisy.conf', `${text}\n[client]\n${settings}`);
    const noisy = as({ conf });
    expect(await noisy.fsid()).toBe(cluster.fsid);
    expect(await noisy.removeSnapshot(image, 'nope')).toBe(false);
    const failing = noisy.info({ ...image, image: 'nope' });
    await expect(failing).rejects.toMatchObject({
      code: 'IMAGE_NOT_FOUND',
      message: isCli
        ? 'cannot read image "rbd/nope": error opening image nope: (2) No such file or directory'
        : 'cannot read image "rbd/nope": rbd_open_read_only: (2) no such file or directory',
    });
  });

  it('looks at an image of format 1 as at all others, but it has no id', async () => {
    const old = { ...image, image: 'ancient' };
    const sizeBytes = BigInt(16 * MiB);
    await makeFormat1Image(cluster, { pool: 'rbd', name: old.image, sizeBytes: Number(sizeBytes) });
    await ceph.createSnapshot(old, 's');
    const snapshots = await ceph.snapshots(old);
    expect(snapshots).toMatchObject([{ name: 's', sizeBytes }]);
    expect(await ceph.info(old)).toMatchObject({ id: '', name: 'ancient', format: 1, sizeBytes });
    expect(await ceph.listWithSnapshots(where)).toContainEqual({ name: 'ancient', id: '', snapshots });
    expect(await ceph.metadataEntries(old, '')).toEqual([]);
    expect(await ceph.removeSnapshot(old, 's')).toBe(true);
    expect(await ceph.remove(old)).toBe(true);
  });

  it.runIf(isCli)('makes images as asked, whatever ceph.conf and the pool have as defaults', async () => {
    await cluster.createPool('other');
    const defaults = {
      rbd_default_data_pool: 'other',
      rbd_default_order: '20',
      rbd_default_stripe_unit: '65536',
      rbd_default_stripe_count: '4',
    };
    const lines = Object.entries({ ...defaults, rbd_default_format: '1', rbd_default_features: '125' });
    const text = lines.map(([key, value]) => `${key} = ${value}\n`).join('');
    const conf = await inCluster('defaults.conf', `${await readFile(cluster.confPath, 'utf8')}\n[client]\n${text}`);
    for (const [key, value] of Object.entries(defaults))
      await cluster.rbd(['config', 'pool', 'set', 'rbd', key, value]);
    const fresh = { ...image, image: 'fresh' };
    for (const given of [{}, { features: [] }, { dataPool: 'other' }]) {
      const asked = { ...layout, ...given };
      await as({ conf }).create(fresh, asked);
      expect(layoutDifference(await ceph.info(fresh), asked)).toBeNull();
      await ceph.remove(fresh);
    }
    for (const key of Object.keys(defaults)) await cluster.rbd(['config', 'pool', 'rm', 'rbd', key]);
  });

  const frozen = async (daemon: string, use: () => Promise<void>): Promise<void> => {
    const pid = cluster.daemonPids().get(daemon);
    if (pid === undefined) throw new Error(`no ${daemon}`);
    process.kill(pid, 'SIGSTOP');
    try {
      await use();
    } finally {
      process.kill(pid, 'SIGCONT');
    }
  };

  describe('a cluster that hangs', () => {
    it('in its monitor is unreachable', () =>
      frozen('mon.a', async () => {
        const port = as({ deadlines: { connectMs: 1_000 } });
        expect(await timed(() => expect(port.list(where)).rejects.toEqual(failsWith('CEPH_UNAVAILABLE')))).toBeLessThan(
          3_000,
        );
      }));

    it('in its OSD does not make us hang', () =>
      frozen('osd.0', async () => {
        const port = as({ deadlines: { commandMs: 1_500, stallMs: 1_500 } });
        const asked = [
          port.list(where),
          port.info(image),
          port.metadata(image),
          port.remove(image),
          port.rollback(image, 's1'),
        ];
        await Promise.all(asked.map((ask) => expect(ask).rejects.toEqual(failsWith('CEPH_TIMEOUT'))));
      }));

    it.runIf(isCli)('in its OSD does not keep a transfer from being broken off', async () => {
      const port = as({ deadlines: { closeGraceMs: 500, killGraceMs: 500 } });
      const sink = port.importDiff(image);
      await sink.write(encodeHeader({ fromSnap: null, toSnap: 'never', sizeBytes: layout.sizeBytes }));
      const writeMiB = async () => {
        await sink.write(encodeDataHeader(0n, BigInt(MiB)));
        await sink.write(Buffer.alloc(MiB, 'x'));
      };
      await writeMiB();
      await writeMiB();
      const hasLock = async () => (await cluster.rbd(['lock', 'ls', 'rbd/vm'])).stdout.includes('auto');
      await vi.waitUntil(hasLock, { timeout: 10_000, interval: 200 });
      await frozen('osd.0', async () => {
        const more = async () => {
          for (let written = 0; written < 1024; written += 1) await writeMiB();
        };
        const written = expect(more()).rejects.toEqual(failsWith('CANCELLED'));
        await sleep(1_000);
        await sink.abort();
        await written;
        const controller = new AbortController();
        setTimeout(() => controller.abort(), 300);
        const next = port.exportDiff(image, { snap: 's1', fromSnap: null }, controller)[Symbol.asyncIterator]().next();
        await expect(next).rejects.toEqual(failsWith('CANCELLED'));
      });
      // It was shut out: who uses the image next does not wait until the cluster notices that it is gone.
      await expect.poll(() => ceph.watchers(image), { timeout: 2_500 }).toEqual([]);
    });
  });

  describe.runIf(isCli)('an rbd that moves no bytes', () => {
    const thin = { ...image, image: 'thin' };
    const snap = { snap: 's', fromSnap: null };
    let signs: number;
    const onAlive = (): void => {
      signs += 1;
    };

    /** Nothing but objects to look at: some seconds' worth. */
    beforeAll(async () => {
      const objectBytes = 4096;
      const small = { objectSizeBytes: objectBytes, stripeUnitBytes: objectBytes, stripeCount: 1 };
      await ceph.create(thin, { ...layout, ...small, sizeBytes: BigInt(512 * MiB), features: ['layering'] });
      await ceph.createSnapshot(thin, snap.snap);
    });

    beforeEach(() => {
      signs = 0;
    });

    it('shows life while it looks at what does not differ, and none when its OSD hangs', async () => {
      const stream = ceph.exportDiff(thin, snap, { onAlive })[Symbol.asyncIterator]();
      await stream.next();
      const rest = stream.next();
      await vi.waitUntil(() => signs >= 3, { timeout: 30_000 });
      await frozen('osd.0', async () => {
        // What was answered before may still be told.
        await sleep(1_200);
        const before = signs;
        await sleep(1_800);
        expect(signs).toBe(before);
      });
      expect((await rest).value?.bytes.toString()).toBe('e');
      expect((await stream.next()).done).toBe(true);
    });

    it('shows life while it makes an image smaller', async () => {
      const sizeBytes = BigInt(448 * MiB);
      const sink = ceph.importDiff(thin, { onAlive });
      await sink.write(encodeHeader({ fromSnap: null, toSnap: 'small', sizeBytes }));
      await sink.write(encodeEnd());
      await sink.finish();
      expect(signs).toBeGreaterThan(2);
      expect((await ceph.info(thin)).sizeBytes).toBe(sizeBytes);
    });
  });

  describe('a change that nobody waits for any more', () => {
    it('leaves no lock behind, for which the next one would wait', async () => {
      const reason = new Error('enough');
      for (let ms = 20; ms < 100; ms += 2) {
        const controller = new AbortController();
        const change = ceph.setMetadata(image, 'key', `after ${ms}`, controller).catch((thrown: unknown) => thrown);
        await sleep(ms);
        controller.abort(reason);
        await change;
        expect({ ms, watchers: await ceph.watchers(image) }).toEqual({ ms, watchers: [] });
      }
      await ceph.removeMetadata(image, 'key');
    });
  });

  /** The last test of this file: the cluster stays as it is. */
  describe('a full cluster', () => {
    beforeAll(async () => {
      const fillUp = ['nearfull', 'backfillfull', 'full'].map((ratio) => `set-${ratio}-ratio`);
      for (const command of fillUp) await cluster.ceph(['osd', command, '0.0000001']);
      for (let tries = 0; tries < 100; tries += 1) {
        // The flag of the pool, which clients obey, comes after the state of the OSD.
        if ((await cluster.ceph(['health'])).stdout.includes('pool(s) full')) return;
        await sleep(100);
      }
      throw new Error('the cluster did not get full');
    });

    it('takes nothing, and says why', async () => {
      const port = as({ deadlines: { fullMs: 300, closeGraceMs: 500, killGraceMs: 500 } });
      const noSpace = expect.objectContaining({
        code: 'CEPH_NO_SPACE',
        message: expect.stringMatching(/^cannot .*: the pool "rbd" is full or over its quota$/),
      });
      const changes = [
        port.create({ ...image, image: 'new' }, layout),
        port.createSnapshot(image, 's3'),
        port.setMetadata(image, 'k', 'v'),
        port.removeMetadata(image, 'facts'),
        port.rollback(image, 's1'),
        port.rename(image, { ...image, image: 'renamed' }),
      ];
      await Promise.all(changes.map((change) => expect(change).rejects.toEqual(noSpace)));
      const sink = port.importDiff(image);
      await expect(sink.write(Buffer.alloc(10 * MiB))).rejects.toEqual(noSpace);
      await sink.abort();
    });

    it('takes nothing from who may not see why either, and he hears of it in time', async () => {
      const port = as({ cephPath: '/nope/ceph', deadlines: { commandMs: 1_500, stallMs: 1_500, fullMs: 300 } });
      await expect(port.create({ ...image, image: 'new' }, layout)).rejects.toEqual(failsWith('CEPH_TIMEOUT'));
      await expect(port.setMetadata(image, 'k', 'v')).rejects.toEqual(failsWith('CEPH_TIMEOUT'));
      await expect(port.rollback(image, 's1')).rejects.toEqual(failsWith('CEPH_TIMEOUT'));
    });

    it('still tells what is in it', async () => {
      expect((await ceph.info(image)).sizeBytes).toBe(layout.sizeBytes);
      expect(await ceph.list(where)).toContain('vm');
      const listed = await ceph.listWithSnapshots(where);
      expect(listed.find(({ name }) => name === 'vm')?.snapshots).toHaveLength(2);
      expect(await ceph.watchers(image)).toEqual([]);
      const metadata = await as({ deadlines: { metadataMs: 2_000 } }).metadata(image);
      expect(metadata).toEqual(
        new Map([
          ['facts', '{"text":"ü"}'],
          ['large', 'x'.repeat(100_000)],
        ]),
      );
    });

    it('still lets go of snapshots and images', async () => {
      expect(await ceph.removeSnapshot(image, 's1')).toBe(true);
      expect(await ceph.removeSnapshot(image, 's2')).toBe(true);
      expect(await ceph.remove(image)).toBe(true);
    });
  });
});
