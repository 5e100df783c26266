import { readFile, writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { CephPort, ImageLayout } from '@rbdferry/core/ceph/port.js';
import { layoutDifference } from '@rbdferry/core/ceph/layout-difference.js';
import { createRbdCli } from '@rbdferry/core/ceph/rbd-cli.js';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { randomBytes, sha256OfExport, startCluster, writeAt, type Cluster } from '../ceph/cluster.js';

/** What the port promises, on real Ceph, as a user with `profile rbd` and nothing more. */
const MiB = 1024 * 1024;
const allFeatures = ['deep-flatten', 'exclusive-lock', 'fast-diff', 'layering', 'object-map'];
const where = { pool: 'rbd', namespace: '' };

let cluster: Cluster;
let ceph: CephPort;

beforeAll(async () => {
  cluster = await startCluster({ name: 'port', osds: 3, pools: ['rbd', 'other'], memstoreBytes: 1024 * MiB });
  await cluster.createPool('ec', { erasure: true });
  await cluster.createPool('secret', { rbd: false });
  await cluster.rbd(['namespace', 'create', 'rbd/ns']);
  const { name, keyringPath } = cluster.users.agent;
  ceph = createRbdCli({ conf: cluster.confPath, user: name, keyring: keyringPath });
});

afterAll(() => cluster?.stop());

const image = (name: string, namespace = '') => ({ pool: 'rbd', namespace, image: name });
const nowhere = { pool: 'nopool', namespace: '', image: 'x' };
const noNamespace = image('x', 'nons');
const spec = (name: string): string => `rbd/${name}`;

const layout = (given: Partial<ImageLayout> = {}): ImageLayout => ({
  sizeBytes: BigInt(64 * MiB),
  objectSizeBytes: 4 * MiB,
  stripeUnitBytes: 4 * MiB,
  stripeCount: 1,
  features: allFeatures,
  dataPool: null,
  ...given,
});

let made = 0;
const newImage = async (given: Partial<ImageLayout> = {}) => {
  const fresh = image(`vm.${(made += 1)}`);
  await ceph.create(fresh, layout(given));
  return fresh;
};

const failsWith = (code: string) => expect.objectContaining({ code });

/** Runs while another client has the image open, as a virtual machine would. */
const whileInUse = async (name: string, use: () => Promise<void>): Promise<void> => {
  const args = [
    'bench',
    '--io-type',
    'write',
    '--io-size',
    '4096',
    '--io-threads',
    '1',
    '--io-total',
    '1T',
    spec(name),
  ];
  const client = execa('rbd', [...cluster.connectArgs('agent'), ...args], { reject: false, stdio: 'ignore' });
  try {
    for (let tries = 0; tries < 100 && (await ceph.watchers(image(name))).length === 0; tries += 1) await sleep(50);
    await use();
  } finally {
    client.kill('SIGKILL');
    await client;
  }
};

it('knows the cluster', async () => {
  expect(await ceph.fsid()).toBe(cluster.fsid);
});

describe('images', () => {
  it.each([
    ['the features of a backup image', { features: ['layering', 'exclusive-lock', 'object-map', 'fast-diff'] }],
    ['layering alone', { features: ['layering'] }],
    ['a size that is no multiple of anything', { sizeBytes: 1000n }],
    ['no size', { sizeBytes: 0n }],
    ['small objects', { objectSizeBytes: 65_536, stripeUnitBytes: 65_536, sizeBytes: 5_000_001n }],
    ['stripes', { stripeUnitBytes: 65_536, stripeCount: 5, features: [...allFeatures, 'striping'] }],
    ['a pool for its data', { dataPool: 'ec', features: [...allFeatures, 'data-pool'] }],
    ['1 PiB', { sizeBytes: 2n ** 50n, features: ['layering'] }],
  ] as [string, Partial<ImageLayout>][])('are made with %s', async (_, given) => {
    const fresh = await newImage(given);
    const wanted = layout(given);
    expect(await ceph.info(fresh)).toMatchObject({
      ...wanted,
      features: wanted.features.toSorted(),
      id: expect.stringMatching(/^[0-9a-f]+$/),
      parent: null,
    });
    if (wanted.sizeBytes < 2n ** 40n) await ceph.remove(fresh);
  });

  it('are made as asked, whatever ceph.conf and the pool have as defaults', async () => {
    const defaults = {
      rbd_default_data_pool: 'other',
      rbd_default_order: '20',
      rbd_default_stripe_unit: '65536',
      rbd_default_stripe_count: '4',
    };
    const conf = `${cluster.dir}/defaults.conf`;
    const lines = { ...defaults, rbd_default_format: '1', rbd_default_features: '125' };
    const text = Object.entries(lines).map(([key, value]) => `${key} = ${value}\n`);
    await writeFile(conf, `${await readFile(cluster.confPath, 'utf8')}\n[client]\n${text.join('')}`);
    for (const [key, value] of Object.entries(defaults))
      await cluster.rbd(['config', 'pool', 'set', 'rbd', key, value]);
    const { name: user, keyringPath: keyring } = cluster.users.agent;
    const elsewhere = createRbdCli({ conf, user, keyring });
    for (const given of [{}, { features: ['layering'] }, { features: [] }, { dataPool: 'ec' }]) {
      const fresh = image(`vm.${(made += 1)}`);
      const asked = layout(given);
      await elsewhere.create(fresh, asked);
      expect(layoutDifference(await ceph.info(fresh), asked)).toBeNull();
      await ceph.remove(fresh);
    }
    for (const key of Object.keys(defaults)) await cluster.rbd(['config', 'pool', 'rm', 'rbd', key]);
  });

  it('are made in a namespace, under any legal name', async () => {
    const odd = image(`${'n'.repeat(180)}a=b,%c+d:e_f.-g`, 'ns');
    await ceph.create(odd, layout());
    await ceph.createSnapshot(odd, '2015-07-07.10:40:39.458883.snap');
    expect(await ceph.list({ pool: 'rbd', namespace: 'ns' })).toEqual([odd.image]);
    expect(await ceph.list(where)).not.toContain(odd.image);
    const listing = await ceph.listWithSnapshots({ pool: 'rbd', namespace: 'ns' });
    const snapshots = await ceph.snapshots(odd);
    expect(listing).toEqual([{ name: odd.image, id: (await ceph.info(odd)).id, snapshots }]);
    expect(await ceph.removeSnapshot(odd, '2015-07-07.10:40:39.458883.snap')).toBe(true);
    const other = { ...odd, image: 'other' };
    await ceph.rename(odd, other);
    expect(await ceph.remove(other)).toBe(true);
  });

  it('are not made twice, nor in places that are not there', async () => {
    const first = await newImage();
    await expect(ceph.create(first, layout())).rejects.toEqual(failsWith('IMAGE_EXISTS'));
    await expect(ceph.create(nowhere, layout())).rejects.toEqual(failsWith('POOL_NOT_FOUND'));
    await expect(ceph.create(noNamespace, layout())).rejects.toEqual(failsWith('NAMESPACE_NOT_FOUND'));
    const noData = ceph.create(image('no-data'), layout({ dataPool: 'nopool' }));
    await expect(noData).rejects.toEqual(failsWith('POOL_NOT_FOUND'));
  });

  it('tell what they were cloned from', async () => {
    const parent = await newImage();
    await ceph.createSnapshot(parent, 'golden');
    const child = image('child');
    const clone = ['clone', '--rbd-default-clone-format=2', `${spec(parent.image)}@golden`, 'rbd/child'];
    await cluster.rbd(clone);
    expect((await ceph.info(child)).parent).toMatchObject({ image: parent.image, snap: 'golden' });
    // The snapshot of a linked clone goes to a trash of its own, and is no user's snapshot any more.
    expect(await ceph.removeSnapshot(parent, 'golden')).toBe(true);
    expect(await ceph.snapshots(parent)).toEqual([]);
    const listed = (await ceph.listWithSnapshots(where)).find(({ name }) => name === parent.image);
    expect(listed?.snapshots).toEqual([]);
    expect((await ceph.info(child)).features).toContain('operations');
    await ceph.create(image('like-child'), layout({ features: (await ceph.info(child)).features }));
  });

  it('are renamed, but not over another', async () => {
    const [one, two] = [await newImage(), await newImage()];
    await expect(ceph.rename(one, two)).rejects.toEqual(failsWith('IMAGE_EXISTS'));
    await expect(ceph.rename(image('nope'), image('x'))).rejects.toEqual(failsWith('IMAGE_NOT_FOUND'));
    const { id } = await ceph.info(one);
    await ceph.rename(one, image('renamed'));
    expect((await ceph.info(image('renamed'))).id).toBe(id);
  });

  it('are removed when nobody uses them and they have no snapshots', async () => {
    const doomed = await newImage();
    await ceph.createSnapshot(doomed, 's');
    await expect(ceph.remove(doomed)).rejects.toEqual(failsWith('CEPH_FAILED'));
    await ceph.removeSnapshot(doomed, 's');
    await whileInUse(doomed.image, async () => {
      await expect(ceph.remove(doomed)).rejects.toEqual(failsWith('IMAGE_IN_USE'));
      await expect(ceph.moveToTrash(doomed, new Date())).rejects.toEqual(failsWith('IMAGE_IN_USE'));
      expect(await ceph.watchers(doomed)).toHaveLength(1);
    });
    const idle = await newImage();
    expect(await ceph.watchers(idle)).toEqual([]);
    expect(await ceph.remove(idle)).toBe(true);
    expect(await ceph.remove(idle)).toBe(false);
    await expect(ceph.remove(nowhere)).rejects.toEqual(failsWith('POOL_NOT_FOUND'));
  });

  it('are removed in the end when a removal was interrupted', async () => {
    const huge = await newImage({ sizeBytes: 2n ** 44n, features: ['layering'] });
    const controller = new AbortController();
    const removal = ceph.remove(huge, controller);
    setTimeout(() => controller.abort(), 1_000);
    await expect(removal).rejects.toEqual(failsWith('CANCELLED'));
    await expect(ceph.info(huge)).rejects.toEqual(failsWith('IMAGE_NOT_FOUND'));
    expect(await ceph.list(where)).toContain(huge.image);
    // One such image does not hide the others.
    const names = (await ceph.listWithSnapshots(where)).map(({ name }) => name);
    expect(names.length).toBeGreaterThan(3);
    expect(names).not.toContain(huge.image);
    // rbd goes on where it was, once the watch of its dead predecessor has run out.
    await expect(ceph.remove(huge)).rejects.toEqual(failsWith('IMAGE_IN_USE'));
  });

  it('go to the trash until a moment, and come back', async () => {
    const unwanted = await newImage();
    await ceph.createSnapshot(unwanted, 's');
    const { id } = await ceph.info(unwanted);
    await ceph.moveToTrash(unwanted, new Date('2099-12-31T23:59:59Z'));
    expect(await ceph.list(where)).not.toContain(unwanted.image);
    expect(await ceph.trash(where)).toContainEqual({ id, name: unwanted.image });
    const { stdout } = await cluster.rbd(['trash', 'ls', '--long', '--format', 'json', 'rbd']);
    // rbd counts from its own clock, and cuts the fraction.
    expect(stdout).toMatch(/protected until Thu Dec 31 23:59:5[789] 2099/);
    await expect(ceph.moveToTrash(unwanted, new Date())).rejects.toEqual(failsWith('IMAGE_NOT_FOUND'));
    const taken = await newImage();
    await expect(ceph.restoreFromTrash(id, taken)).rejects.toEqual(failsWith('IMAGE_EXISTS'));
    await expect(ceph.restoreFromTrash('123456', image('x'))).rejects.toEqual(failsWith('IMAGE_NOT_FOUND'));
    await ceph.restoreFromTrash(id, image('back'));
    expect(await ceph.info(image('back'))).toMatchObject({ id });
    expect(await ceph.snapshots(image('back'))).toHaveLength(1);
  });

  it('are looked for in places that are there', async () => {
    for (const [place, code] of [
      [image('nope'), 'IMAGE_NOT_FOUND'],
      [nowhere, 'POOL_NOT_FOUND'],
      [noNamespace, 'NAMESPACE_NOT_FOUND'],
    ] as const) {
      await expect(ceph.info(place)).rejects.toEqual(failsWith(code));
      await expect(ceph.snapshots(place)).rejects.toEqual(failsWith(code));
      await expect(ceph.metadata(place)).rejects.toEqual(failsWith(code));
      await expect(ceph.watchers(place)).rejects.toEqual(failsWith(code));
      await expect(ceph.createSnapshot(place, 's')).rejects.toEqual(failsWith(code));
      await expect(ceph.rollback(place, 's')).rejects.toEqual(failsWith(code));
      await expect(ceph.setMetadata(place, 'k', 'v')).rejects.toEqual(failsWith(code));
      await expect(ceph.diffExtents(place, { snap: 's', fromSnap: null })).rejects.toEqual(failsWith(code));
    }
    for (const [place, code] of [
      [nowhere, 'POOL_NOT_FOUND'],
      [noNamespace, 'NAMESPACE_NOT_FOUND'],
    ] as const) {
      await expect(ceph.list(place)).rejects.toEqual(failsWith(code));
      await expect(ceph.listWithSnapshots(place)).rejects.toEqual(failsWith(code));
      await expect(ceph.trash(place)).rejects.toEqual(failsWith(code));
    }
    await expect(ceph.list({ pool: 'secret', namespace: '' })).rejects.toEqual(failsWith('CEPH_PERMISSION'));
  });
});

describe('snapshots', () => {
  it('are listed oldest first, with the size of their time', async () => {
    const grown = await newImage();
    await ceph.createSnapshot(grown, 'small');
    await cluster.rbd(['resize', '--size', '96M', spec(grown.image)]);
    await ceph.createSnapshot(grown, 'a-large');
    await expect(ceph.createSnapshot(grown, 'small')).rejects.toEqual(failsWith('SNAPSHOT_EXISTS'));
    const snapshots = await ceph.snapshots(grown);
    expect(snapshots).toEqual([
      { id: expect.any(Number), name: 'small', sizeBytes: BigInt(64 * MiB), protected: false },
      { id: expect.any(Number), name: 'a-large', sizeBytes: BigInt(96 * MiB), protected: false },
    ]);
    expect((await ceph.listWithSnapshots(where)).find(({ name }) => name === grown.image)?.snapshots).toEqual(
      snapshots,
    );
  });

  it('are removed unless they are protected', async () => {
    const kept = await newImage();
    await ceph.createSnapshot(kept, 's');
    await cluster.rbd(['snap', 'protect', `${spec(kept.image)}@s`]);
    await expect(ceph.removeSnapshot(kept, 's')).rejects.toEqual(failsWith('CEPH_FAILED'));
    expect((await ceph.snapshots(kept))[0]?.protected).toBe(true);
    await cluster.rbd(['snap', 'unprotect', `${spec(kept.image)}@s`]);
    expect(await ceph.removeSnapshot(kept, 's')).toBe(true);
    expect(await ceph.removeSnapshot(kept, 's')).toBe(false);
    await expect(ceph.removeSnapshot(image('nope'), 's')).rejects.toEqual(failsWith('IMAGE_NOT_FOUND'));
  });

  it('are what an image is rolled back to, its size included', async () => {
    const changed = await newImage();
    await writeAt(cluster, spec(changed.image), 0, randomBytes('before', 10_000));
    await ceph.createSnapshot(changed, 's');
    const content = await sha256OfExport(cluster, `${spec(changed.image)}@s`);
    await writeAt(cluster, spec(changed.image), 5000, randomBytes('after', 10_000));
    await cluster.rbd(['resize', '--size', '96M', spec(changed.image)]);
    await ceph.rollback(changed, 's');
    expect((await ceph.info(changed)).sizeBytes).toBe(BigInt(64 * MiB));
    expect(await sha256OfExport(cluster, spec(changed.image))).toBe(content);
    await expect(ceph.rollback(changed, 'nope')).rejects.toEqual(failsWith('SNAPSHOT_NOT_FOUND'));
  });
});

describe('metadata', () => {
  it('keeps any text', async () => {
    const marked = await newImage();
    expect(await ceph.metadata(marked)).toEqual(new Map());
    const values = new Map([
      ['rbdferry.json', JSON.stringify({ text: 'line\nquote " ü \u0001' })],
      ['looks-like-an-option', '--conf=/nope'],
      ['7', '-'],
      ['large', 'x'.repeat(120_000)],
    ]);
    for (const [key, value] of values) await ceph.setMetadata(marked, key, value);
    await ceph.setMetadata(marked, '7', 'changed');
    expect(await ceph.metadata(marked)).toEqual(values.set('7', 'changed'));
    expect(await ceph.removeMetadata(marked, '7')).toBe(true);
    expect(await ceph.removeMetadata(marked, '7')).toBe(false);
    expect((await ceph.metadata(marked)).has('7')).toBe(false);
    await expect(ceph.removeMetadata(image('nope'), 'k')).rejects.toEqual(failsWith('IMAGE_NOT_FOUND'));
  });
});

it('sums the extents that differ', async () => {
  const compared = await newImage();
  await writeAt(cluster, spec(compared.image), 0, randomBytes('one', 3 * MiB));
  await ceph.createSnapshot(compared, 's1');
  await writeAt(cluster, spec(compared.image), 20 * MiB, randomBytes('two', 1 * MiB));
  await ceph.createSnapshot(compared, 's2');
  const data = (bytes: number, extents: number) => ({ dataBytes: BigInt(bytes), zeroBytes: 0n, extents });
  expect(await ceph.diffExtents(compared, { snap: 's1', fromSnap: null })).toEqual(data(3 * MiB, 1));
  expect(await ceph.diffExtents(compared, { snap: 's2', fromSnap: 's1' })).toEqual(data(1 * MiB, 1));
  const noSnap = failsWith('SNAPSHOT_NOT_FOUND');
  await expect(ceph.diffExtents(compared, { snap: 'nope', fromSnap: null })).rejects.toEqual(noSnap);
  await expect(ceph.diffExtents(compared, { snap: 's2', fromSnap: 'nope' })).rejects.toEqual(noSnap);
});
