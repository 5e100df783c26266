import type { CephPort, ImageLayout } from '@rbdferry/core/ceph/port.js';
import { beforeEach, describe, expect, it } from 'vitest';
import { delayedCeph } from './delayed-ceph.js';
import { Died, dyingCeph } from './dying-ceph.js';
import { fakeCeph } from './fake-ceph.js';
import { FakeCluster } from './fake-cluster.js';
import { watchedCeph } from './watched-ceph.js';

const image = { pool: 'rbd', namespace: '', image: 'vm' };
const layout: ImageLayout = {
  sizeBytes: 65_536n,
  objectSizeBytes: 16_384,
  stripeUnitBytes: 16_384,
  stripeCount: 1,
  features: ['layering'],
  dataPool: null,
};

let cluster: FakeCluster;
let ceph: CephPort;

beforeEach(() => {
  cluster = new FakeCluster('rbd');
  ceph = fakeCeph(cluster, { chunkBytes: 8192 });
});

/** Everything of a port in ten calls: a stream of three chunks goes out of an image and, without its end, into another one. */
const work = async (port: CephPort): Promise<void> => {
  await port.create(image, layout);
  cluster.write(image, 0, Buffer.alloc(16_384, 1));
  await port.createSnapshot(image, 's');
  const sink = port.importDiff(image);
  for await (const chunk of port.exportDiff(image, { snap: 's', fromSnap: null })) {
    await sink.write(chunk.bytes.subarray(0, 12));
    break;
  }
  await sink.abort();
  await port.setMetadata(image, 'key', 'value');
};

const calls = [
  'create rbd/vm',
  'createSnapshot rbd/vm s',
  'importDiff rbd/vm',
  'exportDiff rbd/vm @s',
  'exportDiff.chunk rbd/vm @s',
  'importDiff.write rbd/vm',
  'importDiff.abort rbd/vm',
  'setMetadata rbd/vm key value',
];

/** Without the start of an export, which is its first read, and the end of an import, which its process's death is as well. */
const certain = (texts: readonly string[]): string[] => texts.filter((text) => !/^exportDiff |abort/.test(text));

describe('a port that is watched', () => {
  it('tells every call', async () => {
    const watched = watchedCeph(ceph);
    await work(watched.ceph);
    expect(watched.calls.map(({ text }) => text)).toEqual(calls);
    expect(await watched.ceph.list(image)).toEqual(['vm']);
  });
});

describe('a port whose process dies', () => {
  it('counts the calls, and does the one that it dies at or does not', async () => {
    for (let at = 1; at <= calls.length; at += 1) {
      for (const when of ['before', 'after'] as const) {
        cluster = new FakeCluster('rbd');
        const watched = watchedCeph(fakeCeph(cluster));
        const dying = dyingCeph(watched.ceph, { at, when });
        await expect(work(dying.ceph)).rejects.toBeInstanceOf(Died);
        expect(dying.calls.slice(0, at)).toEqual(calls.slice(0, at));
        const reached = certain(watched.calls.map(({ text }) => text));
        const done = certain(calls.slice(0, when === 'after' ? at : at - 1));
        expect(when === 'after' ? reached.slice(0, done.length) : reached).toEqual(done);
        expect(cluster.allWatchers()).toEqual([]);
        await expect(dying.ceph.fsid()).rejects.toBeInstanceOf(Died);
      }
    }
  });

  it('only counts when it is to die at no call', async () => {
    const dying = dyingCeph(ceph, { at: Number.POSITIVE_INFINITY, when: 'before' });
    await work(dying.ceph);
    expect(dying).toMatchObject({ calls, isDead: false });
  });

  it('commits an import that had its end when it died after finish, and not one before', async () => {
    await work(ceph);
    const bytes: Uint8Array[] = [];
    for await (const chunk of ceph.exportDiff(image, { snap: 's', fromSnap: null })) bytes.push(chunk.bytes);
    for (const when of ['before', 'after'] as const) {
      const copy = { ...image, image: `copy ${when}` };
      await ceph.create(copy, layout);
      const sink = dyingCeph(ceph, { at: 3, when }).ceph.importDiff(copy);
      await sink.write(Buffer.concat(bytes));
      await expect(sink.finish()).rejects.toBeInstanceOf(Died);
      expect(await ceph.snapshots(copy)).toHaveLength(when === 'after' ? 1 : 0);
      expect(cluster.sha256(copy)).toBe(cluster.sha256(image));
    }
  });
});

describe('a port that is delayed', () => {
  it.each([
    ['before', []],
    ['after', ['vm']],
  ] as const)('holds a call %s it is done', async (when, names) => {
    const delayed = delayedCeph(ceph, ({ name }) => name === 'create', when);
    let isDone = false;
    const creating = delayed.ceph.create(image, layout).then(() => (isDone = true));
    expect((await delayed.held).text).toBe('create rbd/vm');
    expect(await delayed.ceph.list(image)).toEqual(names);
    expect(isDone).toBe(false);
    delayed.release();
    await creating;
    expect(await ceph.list(image)).toEqual(['vm']);
    await delayed.ceph.create({ ...image, image: 'next' }, layout);
  });
});
