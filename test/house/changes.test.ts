import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { randomBytes } from '../ceph/image-content.js';
import { expectError } from '../harness/expect-error.js';
import { startHouse, type House } from './house.js';
import { chainOf, imageOf, snapOf } from './site.js';

/** What others do with images and backups, between two backups or before a deletion. */
let house: House;

beforeAll(async () => {
  house = await startHouse();
});

afterAll(() => house?.stop());

let writes = 0;
const backUp = async (image: string): Promise<string> => {
  writes += 1;
  house.source.write(image, writes * 4096, randomBytes(`${writes}`, 200_000));
  return house.ok('backup', image);
};

const listed = async (...args: string[]): Promise<string[]> => {
  const chains = JSON.parse(await house.ok('list', ...args, '--json')) as { backups: { id: string }[] }[];
  return chains.flatMap(({ backups }) => backups.map(({ id }) => id));
};

describe('an image', () => {
  it('that was renamed goes on in its chain, and its old snapshot goes', async () => {
    await house.source.create('rbd/old');
    const first = await backUp('rbd/old');
    await house.source.rename('rbd/old', 'rbd/young');
    const second = await backUp('rbd/young');
    expect(chainOf(second)).toBe(chainOf(first));
    expect(house.backup.sha256(second)).toBe(house.source.sha256(`rbd/young@${snapOf(second)}`));
    expect(await house.source.snapNames('rbd/young')).toEqual([snapOf(second)]);
    expect(await listed('rbd/young')).toContain(second);
    const third = await backUp('rbd/young');
    expect(chainOf(third)).toBe(chainOf(first));
  });

  it('that was renamed before its backups are deleted loses its snapshot all the same', async () => {
    await house.source.create('rbd/before');
    const id = await backUp('rbd/before');
    await house.source.rename('rbd/before', 'rbd/after');
    await house.ok('delete', '--chain', chainOf(id));
    expect(await house.source.snapNames('rbd/after')).toEqual([]);
  });
});

describe('a backup that something keeps', () => {
  it('stays and is told, the others go, and it goes when that is gone: a clone, a protection', async () => {
    await house.source.create('rbd/kept');
    const ids: string[] = [];
    for (let count = 0; count < 4; count += 1) ids.push(await backUp('rbd/kept'));
    const [first = '', second = '', third = '', fourth = ''] = ids;
    house.backup.protect(third);
    house.backup.cluster.clone(imageOf(chainOf(second)), snapOf(second), imageOf('rbd2/look'));
    expectError(await house.cli('delete', second), 'BACKUP_IN_USE', 38, 'rbd2/look');
    const dry = await house.cli('delete', '--chain', chainOf(first), '--dry-run');
    const whole = await house.cli('delete', '--chain', chainOf(first));
    expect(dry.stdout).toBe(whole.stdout);
    expect(whole.stdout.split('\n')).toEqual([first, fourth]);
    expect(whole.stderr).toContain(`kept ${second} stays: it has a clone: rbd2/look`);
    expect(whole.exitCode).toBe(38);
    expect(await listed('rbd/kept')).toEqual([second, third]);
    await house.backup.remove('rbd2/look');
    house.backup.protect(third, false);
    expect((await house.ok('delete', '--chain', chainOf(first))).split('\n')).toEqual([second, third]);
    expect(await house.backup.imageNames('rbd2')).not.toContain(chainOf(first).slice('rbd2/'.length));
    expect(await house.source.snapNames('rbd/kept')).toEqual([]);
  });

  it('is the newest one when its image has a snapshot of somebody else’s, and a removal that was broken off does not keep it', async () => {
    await house.source.create('rbd/foreign');
    const [first, second] = [await backUp('rbd/foreign'), await backUp('rbd/foreign')];
    const image = chainOf(first);
    house.backup.addSnapshot(`${image}@mine`);
    const kept = await house.cli('delete', '--chain', image);
    expect(kept.stdout).toBe(first);
    expect(kept.stderr).toContain('"mine"');
    expect(await listed('rbd/foreign')).toEqual([second]);
    expectError(await house.cli('delete', second), 'BACKUP_IN_USE', 38, 'mine');
    house.backup.cluster.removeSnapshot(imageOf(image), 'mine');
    expect(await house.ok('delete', second)).toBe(second);
    expect(await house.backup.imageNames('rbd2')).not.toContain(image.slice('rbd2/'.length));
  });
});
