import type { CephPort, ImageLayout } from '@rbdferry/core/ceph/port.js';
import { splitMetadata } from '@rbdferry/core/model/image-meta.js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { randomBytes } from '../ceph/cluster.js';
import type { World } from './world.js';

/** What the port promises. */
const MiB = 1024 * 1024;
const allFeatures = ['deep-flatten', 'exclusive-lock', 'fast-diff', 'layering', 'object-map'];
const where = { pool: 'rbd', namespace: '' };

const image = (name: string, namespace = '') => ({ pool: 'rbd', namespace, image: name });
const nowhere = { pool: 'nopool', namespace: '', image: 'x' };
const noNamespace = image('x', 'nons');

const layout = (given: Partial<ImageLayout> = {}): ImageLayout => ({
  sizeBytes: BigInt(64 * MiB),
  objectSizeBytes: 4 * MiB,
  stripeUnitBytes: 4 * MiB,
  stripeCount: 1,
  features: allFeatures,
  dataPool: null,
  ...given,
});

const failsWith = (code: string) => expect.objectContaining({ code });

/** The same cases for every implementation. */
export const cephPortSuite = (start: () => World | Promise<World>): void => {
  let world: World;
  let ceph: CephPort;

  beforeAll(async () => {
    world = await start();
    ({ ceph } = world);
  });

  afterAll(() => world?.stop());

  let made = 0;
  const newImage = async (given: Partial<ImageLayout> = {}) => {
    const fresh = image(`vm.${(made += 1)}`);
    await ceph.create(fresh, layout(given));
    return fresh;
  };

  it('knows the cluster', async () => {
    expect(await ceph.fsid()).toBe(world.fsid);
  });

  describe('images', () => {
    it.each([
      ['the features of a backup image', { features: ['layering', 'exclusive-lock', 'object-map', 'fast-diff'] }],
      ['layering alone', { features: ['layering'] }],
      ['no features', { features: [] }],
      ['a size that is no multiple of anything', { sizeBytes: 1000n }],
      ['no size', { sizeBytes: 0n }],
      ['small objects', { objectSizeBytes: 65_536, stripeUnitBytes: 65_536, sizeBytes: 5_000_001n }],
      ['stripes', { stripeUnitBytes: 65_536, stripeCount: 5, features: [...allFeatures, 'striping'] }],
      ['a pool for its data', { dataPool: 'ec', features: [...allFeatures, 'data-pool'] }],
      ['1 PiB', { sizeBytes: 2n ** 50n, features: ['layering'] }],
    ] as [string, Partial<ImageLayout>][])('are made with %s', async (_, given) => {
      const fresh = await newImage(given);
      const wanted = layout(given);
      expect(await ceph.info(fresh)).toEqual({
        ...wanted,
        features: wanted.features.toSorted(),
        id: expect.stringMatching(/^[0-9a-f]+$/),
        name: fresh.image,
        parent: null,
        hasClones: false,
        format: 2,
        group: null,
        mirroring: null,
      });
      if (wanted.sizeBytes < 2n ** 40n) await ceph.remove(fresh);
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
      await world.clone(parent, 'golden', child);
      const { id: imageId } = await ceph.info(parent);
      expect((await ceph.info(child)).parent).toEqual({ ...parent, imageId, snap: 'golden' });
      expect(await ceph.info(parent)).toMatchObject({ hasClones: true, parent: null });
      expect(await ceph.clones(parent, 'golden')).toEqual(['rbd/child']);
      expect(await ceph.hiddenSnapshots(parent)).toEqual([]);
      // The snapshot of a linked clone goes to a trash of its own, and is no user's snapshot any more.
      expect(await ceph.removeSnapshot(parent, 'golden')).toBe(true);
      expect(await ceph.snapshots(parent)).toEqual([]);
      expect(await ceph.hiddenSnapshots(parent)).toEqual(['"golden", which was removed but has a clone']);
      await expect(ceph.remove(parent)).rejects.toEqual(failsWith('CEPH_FAILED'));
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
      await world.whileInUse(doomed, async () => {
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
      const huge = await newImage({ features: ['layering'] });
      const other = await newImage();
      await world.breakOffRemoval(huge);
      await expect(ceph.info(huge)).rejects.toEqual(failsWith('IMAGE_NOT_FOUND'));
      expect(await ceph.list(where)).toContain(huge.image);
      // One such image does not hide the others.
      const names = (await ceph.listWithSnapshots(where)).map(({ name }) => name);
      expect(names).toContain(other.image);
      expect(names).not.toContain(huge.image);
      // rbd goes on where it was: its predecessor, which had to be killed, was shut out and is nobody's user any more.
      expect(await ceph.remove(huge)).toBe(true);
      expect(await ceph.list(where)).not.toContain(huge.image);
    });

    it('go to the trash until a moment, and come back', async () => {
      const unwanted = await newImage();
      await ceph.createSnapshot(unwanted, 's');
      const { id } = await ceph.info(unwanted);
      await ceph.moveToTrash(unwanted, new Date('2099-12-31T23:59:59Z'));
      expect(await ceph.list(where)).not.toContain(unwanted.image);
      expect(await ceph.trash(where)).toContainEqual({ id, name: unwanted.image });
      // rbd counts from its own clock, and cuts the fraction.
      expect((await world.trashedUntil(id)).toISOString()).toMatch(/^2099-12-31T23:59:5[789]/);
      expect(await ceph.info({ ...where, imageId: id })).toMatchObject({ id, name: unwanted.image });
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
      await world.resize(grown, 96 * MiB);
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

    it('tell the image as it was, and whether its head may be another by now', async () => {
      const changed = await newImage();
      const before = await ceph.info(changed);
      await ceph.createSnapshot(changed, 's');
      expect(await ceph.infoAt(changed, 's')).toEqual(before);
      expect(await ceph.headMayDiffer(changed, 's')).toBe(false);
      await world.write(changed, 0, randomBytes('new', 5000));
      expect(await ceph.headMayDiffer(changed, 's')).toBe(true);
      await world.resize(changed, 96 * MiB);
      await ceph.rename(changed, image('at'));
      const byId = { ...where, imageId: before.id };
      expect(await ceph.infoAt(byId, 's')).toEqual({ ...before, name: 'at' });
      expect(await ceph.info(byId)).toMatchObject({ name: 'at', sizeBytes: BigInt(96 * MiB) });
      expect(await ceph.snapshots(byId)).toHaveLength(1);
      await expect(ceph.infoAt(byId, 'nope')).rejects.toEqual(failsWith('SNAPSHOT_NOT_FOUND'));
      await expect(ceph.headMayDiffer(image('at'), 'nope')).rejects.toEqual(failsWith('SNAPSHOT_NOT_FOUND'));
      await expect(ceph.info({ ...where, imageId: '123456' })).rejects.toEqual(failsWith('IMAGE_NOT_FOUND'));
      expect(await ceph.removeSnapshot(byId, 's')).toBe(true);
    });

    it('are removed unless they are protected', async () => {
      const kept = await newImage();
      await ceph.createSnapshot(kept, 's');
      await world.protect(kept, 's');
      await expect(ceph.removeSnapshot(kept, 's')).rejects.toEqual(failsWith('CEPH_FAILED'));
      expect((await ceph.snapshots(kept))[0]?.protected).toBe(true);
      await world.unprotect(kept, 's');
      expect(await ceph.removeSnapshot(kept, 's')).toBe(true);
      expect(await ceph.removeSnapshot(kept, 's')).toBe(false);
      await expect(ceph.removeSnapshot(image('nope'), 's')).rejects.toEqual(failsWith('IMAGE_NOT_FOUND'));
    });

    it('are what an image is rolled back to, its size included', async () => {
      const changed = await newImage();
      await world.write(changed, 0, randomBytes('before', 10_000));
      await ceph.createSnapshot(changed, 's');
      const content = await world.sha256(changed, 's');
      await world.write(changed, 5000, randomBytes('after', 10_000));
      await world.resize(changed, 96 * MiB);
      await ceph.rollback(changed, 's');
      expect((await ceph.info(changed)).sizeBytes).toBe(BigInt(64 * MiB));
      expect(await world.sha256(changed)).toBe(content);
      // To roll back is to write, though the content is the same.
      expect(await ceph.headMayDiffer(changed, 's')).toBe(true);
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
      const { id } = await ceph.info(marked);
      const { metadata } = splitMetadata(await ceph.metadataEntries(marked, id), () => false);
      expect(new Map(Object.entries(metadata))).toEqual(values);
      await expect(ceph.metadataEntries(marked, '123456')).rejects.toEqual(failsWith('IMAGE_NOT_FOUND'));
      expect(await ceph.removeMetadata(marked, '7')).toBe(true);
      expect(await ceph.removeMetadata(marked, '7')).toBe(false);
      expect((await ceph.metadata(marked)).has('7')).toBe(false);
      await expect(ceph.removeMetadata(image('nope'), 'k')).rejects.toEqual(failsWith('IMAGE_NOT_FOUND'));
    });
  });

  it('sums the extents that differ', async () => {
    const compared = await newImage();
    await world.write(compared, 0, randomBytes('one', 3 * MiB));
    await ceph.createSnapshot(compared, 's1');
    await world.write(compared, 20 * MiB, randomBytes('two', 1 * MiB));
    await ceph.createSnapshot(compared, 's2');
    const data = (bytes: number, extents: number) => ({ dataBytes: BigInt(bytes), zeroBytes: 0n, extents });
    expect(await ceph.diffExtents(compared, { snap: 's1', fromSnap: null })).toEqual(data(3 * MiB, 1));
    expect(await ceph.diffExtents(compared, { snap: 's2', fromSnap: 's1' })).toEqual(data(1 * MiB, 1));
    const noSnap = failsWith('SNAPSHOT_NOT_FOUND');
    await expect(ceph.diffExtents(compared, { snap: 'nope', fromSnap: null })).rejects.toEqual(noSnap);
    await expect(ceph.diffExtents(compared, { snap: 's2', fromSnap: 'nope' })).rejects.toEqual(noSnap);
  });
};
