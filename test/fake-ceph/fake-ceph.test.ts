import type { ByteSource, CephPort, DiffRange, ImageLayout } from '@rbdferry/core/ceph/port.js';
import { provenDiff } from '@rbdferry/core/ceph/proven-diff.js';
import { collectRecords } from '@rbdferry/core/diff/collect-records.js';
import { FerryError } from '@rbdferry/core/errors/ferry-error.js';
import { beforeEach, describe, expect, it } from 'vitest';
import { randomBytes } from '../ceph/image-content.js';
import type { FakeCephOptions } from './door.js';
import { fakeCeph } from './fake-ceph.js';
import { FakeCluster } from './fake-cluster.js';

/** What the contract does not ask of every implementation: accidents, and what the tests' side of a cluster does. */
const where = { pool: 'rbd', namespace: '' };
const image = { ...where, image: 'vm' };
const KiB = 1024;
const layout: ImageLayout = {
  sizeBytes: BigInt(256 * KiB),
  objectSizeBytes: 16 * KiB,
  stripeUnitBytes: 16 * KiB,
  stripeCount: 1,
  features: ['layering', 'deep-flatten'],
  dataPool: null,
};
const full: DiffRange = { snap: 's1', fromSnap: null };
const failsWith = (code: string) => expect.objectContaining({ code });

let cluster: FakeCluster;
let ceph: CephPort;

const as = (options: FakeCephOptions): CephPort => fakeCeph(cluster, options);

beforeEach(async () => {
  cluster = new FakeCluster('rbd', 'data');
  ceph = as({ chunkBytes: 8 * KiB });
  await ceph.create(image, layout);
  cluster.write(image, 0, randomBytes('one', 128 * KiB));
  await ceph.createSnapshot(image, 's1');
});

/** All of a stream, with something happening after its third chunk. */
const bytesOf = async (chunks: ByteSource, meanwhile = async (): Promise<void> => {}) => {
  const read: Uint8Array[] = [];
  for await (const chunk of chunks) if (read.push(chunk.bytes) === 3) await meanwhile();
  return Buffer.concat(read);
};

describe('an export whose snapshot is destroyed meanwhile', () => {
  const child = { ...where, image: 'child' };
  const destroy = async (): Promise<void> => {
    await ceph.removeSnapshot(image, 's1');
    await ceph.remove(image);
  };
  const proven = async (of: typeof image) => {
    const [info, [snap]] = await Promise.all([ceph.info(of), ceph.snapshots(of)]);
    if (snap === undefined) throw new Error('no snapshot');
    return provenDiff(ceph, { image: of, imageId: info.id, snap, from: null, parent: info.parent });
  };

  it('ends well, with zeros in place of what is gone', async () => {
    const whole = await bytesOf(ceph.exportDiff(image, full));
    const lossy = await bytesOf(ceph.exportDiff(image, full), destroy);
    expect(lossy.length).toBeLessThan(whole.length / 2);
    expect(collectRecords([lossy]).summary.zeroExtents).toBeGreaterThan(2);
  });

  it('is not believed by who looks afterwards', async () => {
    await expect(bytesOf(await proven(image), destroy)).rejects.toEqual(failsWith('SOURCE_CHANGED'));
  });

  it('may be that of a clone whose parent goes, and that of one that is flattened in time is not', async () => {
    cluster.clone(image, 's1', child);
    cluster.addSnapshot(child, 's1');
    const whole = await bytesOf(ceph.exportDiff(child, full));
    const flattenAndDestroy = async () => {
      cluster.flatten(child);
      await destroy();
    };
    await expect(bytesOf(await proven(child), flattenAndDestroy)).rejects.toEqual(failsWith('SOURCE_CHANGED'));
    expect((await bytesOf(ceph.exportDiff(child, full))).equals(whole)).toBe(true);
  });
});

it('keeps what a clone reads, though its snapshot was removed, and lets it go with the clone', async () => {
  const child = { ...where, image: 'child' };
  cluster.clone(image, 's1', child);
  await ceph.removeSnapshot(image, 's1');
  expect(cluster.sha256(child)).toBe(cluster.sha256(image));
  expect(cluster.everything()).toEqual(['rbd/child', 'rbd/vm', 'rbd/vm@s1 (hidden)']);
  await ceph.remove(child);
  expect(cluster.everything()).toEqual(['rbd/vm']);
});

describe('a full pool', () => {
  const changes = (port: CephPort): Promise<unknown>[] => [
    port.create({ ...image, image: 'new' }, layout),
    port.createSnapshot(image, 's3'),
    port.setMetadata(image, 'k', 'v'),
    port.removeMetadata(image, 'facts'),
    port.rollback(image, 's1'),
    port.rename(image, { ...image, image: 'renamed' }),
    port.moveToTrash(image, new Date()),
    port.importDiff(image).write(Buffer.from('rbd diff v1\n')),
  ];

  it('takes nothing, and says why, or nothing to who may not see it', async () => {
    cluster.setFull('rbd');
    const message = expect.stringMatching(/^cannot .*: the pool "rbd" is full or over its quota$/);
    for (const change of changes(ceph)) await expect(change).rejects.toMatchObject({ code: 'CEPH_NO_SPACE', message });
    for (const change of changes(as({ seesFullPools: false })))
      await expect(change).rejects.toEqual(failsWith('CEPH_TIMEOUT'));
  });

  it('may be that of the data alone', async () => {
    await ceph.create({ ...image, image: 'split' }, { ...layout, dataPool: 'data' });
    cluster.setFull('data');
    const sink = ceph.importDiff({ ...image, image: 'split' });
    await expect(sink.write(Buffer.from('rbd diff v1\n'))).rejects.toEqual(failsWith('CEPH_NO_SPACE'));
    await ceph.setMetadata({ ...image, image: 'split' }, 'k', 'v');
  });

  it('tells what is in it, and lets go of it when there is a trash', async () => {
    cluster.setFull('rbd');
    expect(await ceph.metadata(image)).toEqual(new Map());
    expect(await ceph.removeSnapshot(image, 's1')).toBe(true);
    await expect(ceph.remove(image)).rejects.toEqual(failsWith('CEPH_TIMEOUT'));
    cluster.setFull('rbd', false);
    await ceph.prepareRemovals(where);
    cluster.setFull('rbd');
    expect(await ceph.remove(image)).toBe(true);
    expect(cluster.everything()).toEqual([]);
  });
});

it('refuses what a user may not do, and changes nothing', async () => {
  const reader = as({ readOnly: true });
  const before = cluster.everything();
  const changes = [
    reader.create({ ...image, image: 'new' }, layout),
    reader.createSnapshot(image, 's3'),
    reader.removeSnapshot(image, 's1'),
    reader.rollback(image, 's1'),
    reader.setMetadata(image, 'k', 'v'),
    reader.moveToTrash(image, new Date()),
    reader.rename(image, { ...image, image: 'new' }),
    reader.importDiff(image).finish(),
  ];
  for (const change of changes) await expect(change).rejects.toEqual(failsWith('CEPH_PERMISSION'));
  cluster.removeSnapshot(image, 's1');
  await expect(reader.remove(image)).rejects.toEqual(failsWith('CEPH_PERMISSION'));
  expect(cluster.everything()).toEqual(before.filter((line) => !line.includes('@')));
  expect(cluster.allWatchers()).toEqual([]);
});

describe('trouble', () => {
  it('is that no monitor answers', async () => {
    cluster.trouble.unreachable = true;
    const down = failsWith('CEPH_UNAVAILABLE');
    await expect(ceph.fsid()).rejects.toEqual(down);
    await expect(ceph.remove(image)).rejects.toEqual(down);
    await expect(ceph.importDiff(image).finish()).rejects.toEqual(down);
    await expect(bytesOf(ceph.exportDiff(image, full))).rejects.toEqual(down);
  });

  it('is a call that hangs until its signal is aborted, or until it is let go', async () => {
    const hang = cluster.trouble.hang((call) => call === 'info');
    const controller = new AbortController();
    const [aborted, released] = [ceph.info(image, controller), ceph.info(image)];
    await ceph.snapshots(image);
    expect(hang.waiting).toBe(2);
    const reason = new FerryError('CANCELLED', 'enough');
    controller.abort(reason);
    await expect(aborted).rejects.toBe(reason);
    hang.release();
    expect(await released).toMatchObject({ name: 'vm' });
  });

  it('is an import that hangs, and is broken off all the same', async () => {
    cluster.trouble.hang((call) => call === 'importDiff.write');
    const sink = ceph.importDiff(image);
    const written = expect(sink.write(Buffer.from('rbd'))).rejects.toEqual(failsWith('CANCELLED'));
    expect(await ceph.watchers(image)).toHaveLength(1);
    await sink.abort();
    await written;
    expect(cluster.allWatchers()).toEqual([]);
  });

  it('is an import that was killed, whose watch stays for a while', async () => {
    const sink = ceph.importDiff(image);
    await sink.write(Buffer.from('rbd diff v1\n'));
    cluster.trouble.killChildren('import-diff');
    await expect(sink.finish()).rejects.toEqual(failsWith('CEPH_FAILED'));
    expect(await ceph.watchers(image)).toHaveLength(1);
    cluster.expireWatches();
    expect(await ceph.watchers(image)).toEqual([]);
  });
});

it('commits an import at its end record, when it is told to be as quick as the real one may be', async () => {
  const bytes = await bytesOf(ceph.exportDiff(image, full));
  for (const [name, importCommitsAt, snapshots] of [
    ['early', 'end-record', ['s1']],
    ['late', 'finish', []],
  ] as const) {
    const port = as({ importCommitsAt });
    await port.create({ ...image, image: name }, layout);
    const sink = port.importDiff({ ...image, image: name });
    await sink.write(bytes);
    await sink.abort();
    expect((await port.snapshots({ ...image, image: name })).map(({ name }) => name)).toEqual(snapshots);
  }
  expect(cluster.sha256({ ...image, image: 'early' }, 's1')).toBe(cluster.sha256(image, 's1'));
});
