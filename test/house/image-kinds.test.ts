import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ImageLayout } from '@rbdferry/core/ceph/port.js';
import { randomBytes } from '../ceph/image-content.js';
import { startHouse, type House } from './house.js';
import { chainOf, imageOf, snapOf } from './site.js';

/** Images come back as they were, to their layout and their image-meta. Features, striping, pools and clones as Ceph has them: test/e2e. */

const KiB = 1024;
const MiB = 1024 * KiB;
let house: House;

beforeAll(async () => {
  house = await startHouse();
});

afterAll(() => house?.stop());

const sourceAt = (image: string, id: string) => house.source.sha256(`${image}@${snapOf(id)}`);
const layoutOf = async (image: string) => {
  const info = await house.source.ceph.info(imageOf(image));
  const { sizeBytes, objectSizeBytes, stripeUnitBytes, stripeCount, features, dataPool } = info;
  return { sizeBytes, objectSizeBytes, stripeUnitBytes, stripeCount, features, dataPool };
};

/** A full and an increment, each restored beside the image and compared with it. */
const roundTrip = async (image: string): Promise<void> => {
  const before = await layoutOf(image);
  const full = await house.ok('backup', image);
  house.source.write(image, 100_000, randomBytes(`more ${image}`, 50_000));
  const hashes = [[full, house.backup.sha256(full)]];
  const increment = await house.ok('backup', image, '--mode', 'incr');
  hashes.push([increment, sourceAt(image, increment)]);
  for (const [id = '', hash] of hashes) {
    const to = `${image}-back`;
    await house.ok('restore', id, '--to', to);
    expect(house.source.sha256(to)).toBe(hash);
    expect(await layoutOf(to)).toEqual(before);
    await house.source.remove(to);
  }
};

describe('every kind of image comes back as it was', () => {
  it.each<[string, string, Partial<ImageLayout>]>([
    ['small objects', 'rbd/small', { objectSizeBytes: 4 * KiB, stripeUnitBytes: 4 * KiB }],
    [
      'large objects',
      'rbd/large',
      { sizeBytes: BigInt(10 * MiB), objectSizeBytes: 32 * MiB, stripeUnitBytes: 32 * MiB },
    ],
    ['few features', 'rbd/plain', { features: ['layering'] }],
    ['a size that is no whole number of objects', 'rbd/odd', { sizeBytes: 1_000_001n }],
  ])('%s', async (_, image, layout) => {
    await house.source.create(image, layout);
    for (let index = 0; index < 30; index += 1)
      house.source.write(image, (index * 77_777) % 900_000, randomBytes(`${image} ${index}`, 7_000));
    await roundTrip(image);
  });

  it('an image that was never written', async () => {
    await house.source.create('rbd/empty');
    const id = await house.ok('backup', 'rbd/empty');
    await house.ok('restore', id, '--to', 'rbd/still-empty');
    expect(house.source.sha256('rbd/still-empty')).toBe(house.source.sha256('rbd/empty'));
    await roundTrip('rbd/empty');
  });

  it('an image in a namespace', async () => {
    house.source.cluster.addNamespace('rbd', 'tenant');
    await house.source.create('rbd/tenant/vm');
    house.source.write('rbd/tenant/vm', 0, randomBytes('tenant', 100_000));
    await roundTrip('rbd/tenant/vm');
  });

  it('an image with a name that needs quotes: backup, increment, list, restore, replace, delete', async () => {
    const image = 'rbd/vm (1) "ä" #2';
    await house.source.create(image);
    house.source.write(image, 0, randomBytes('quotes', 200_000));
    await roundTrip(image);
    const chains = JSON.parse(await house.ok('list', image, '--json')) as {
      image: string;
      backups: { id: string }[];
    }[];
    expect(chains.map((each) => each.image)).toEqual([image]);
    const [first = '', second = ''] = chains.flatMap(({ backups }) => backups.map(({ id }) => id));
    expect(await house.ok('list', image)).toContain(second);
    expect(await house.ok('restore', second, '--replace')).toBe(image);
    expect(house.source.sha256(image)).toBe(house.backup.sha256(second));
    await house.ok('delete', image, '--keep-last', '1');
    expect(await house.backup.imageNames('rbd2')).toContain(chainOf(second).slice('rbd2/'.length));
    const left = await house.ok('list', image);
    expect(left).toContain(second);
    expect(left).not.toContain(first);
  });

  it('the user’s own image-meta and snapshots', async () => {
    await house.source.create('rbd/meta');
    await house.source.ceph.setMetadata(imageOf('rbd/meta'), 'owner', 'Zoë & "co"');
    house.source.addSnapshot('rbd/meta@mine');
    const id = await house.ok('backup', 'rbd/meta');
    await house.ok('backup', 'rbd/meta');
    expect(await house.source.snapNames('rbd/meta')).toContain('mine');
    await house.ok('restore', id, '--to', 'rbd/meta-back');
    expect((await house.source.ceph.metadata(imageOf('rbd/meta-back'))).get('owner')).toBe('Zoë & "co"');
  });

  it('image-meta with lines, quotes and hyphens, also on a backup image that somebody has written on', async () => {
    await house.source.create('rbd/odd-meta');
    const text = { lines: 'a\nb\n', '-x': '--conf', 'key "with"\nlines': 'a"\\b', tab: '\t\u0001' };
    for (const [key, value] of Object.entries(text))
      await house.source.ceph.setMetadata(imageOf('rbd/odd-meta'), key, value);
    const id = await house.ok('backup', 'rbd/odd-meta');
    expect(await house.cli('restore', id, '--to', 'rbd/odd-meta-back')).toMatchObject({ exitCode: 0, stderr: '' });
    const restored = await house.source.ceph.metadata(imageOf('rbd/odd-meta-back'));
    for (const [key, value] of Object.entries(text)) expect(restored.get(key), key).toBe(value);
    await house.backup.ceph.setMetadata(imageOf(chainOf(id)), 'note "1"\n', 'x');
    expect(await house.ok('backup', 'rbd/odd-meta', '--mode', 'incr')).toContain(chainOf(id));
  });
});
