import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { randomBytes } from '../ceph/image-content.js';
import { expectError } from '../harness/expect-error.js';
import { startHouse, type House } from './house.js';
import { chainOf, imageOf, snapOf } from './site.js';

/** What a chain gives back: every point of it, under every name, however the image changed. */

const MiB = 1024 * 1024;
/** The sizes below are multiples of it. */
const unit = MiB / 8;
const idPattern =
  /^rbd2\/[\w.-]+\.\d{4}-\d\d-\d\d\.\d\d:\d\d:\d\d\.\d{6}\.bkp\.image@\d{4}-\d\d-\d\d\.\d\d:\d\d:\d\d\.\d{6}\.snap$/;

let house: House;

beforeAll(async () => {
  house = await startHouse();
});

afterAll(() => house?.stop());

const sourceAt = (image: string, id: string) => house.source.sha256(`${image}@${snapOf(id)}`);
const backupOf = (id: string) => house.backup.sha256(id);

interface Listed {
  readonly id: string;
  readonly kind: string;
  readonly presentOnSource: boolean;
  readonly streamBytes: number;
}

const listed = async (image: string): Promise<{ active: boolean; name: string; backups: Listed[] }[]> =>
  JSON.parse(await house.ok('list', image, '--json')) as { active: boolean; name: string; backups: Listed[] }[];

describe('a chain of one full and seven increments', () => {
  const image = 'rbd/chain';
  const ids: string[] = [];
  const hashes: string[] = [];

  const write = (to: string, offset: number, bytes: Uint8Array) => {
    house.source.write(to, offset, bytes);
  };

  /** Backs up and keeps what the source's snapshot looked like. */
  const backup = async (...args: string[]): Promise<string> => {
    const id = await house.ok('backup', image, ...args);
    expect(id).toMatch(idPattern);
    ids.push(id);
    hashes.push(sourceAt(image, id));
    expect(backupOf(id)).toBe(hashes.at(-1));
    expect(await house.source.snapNames(image)).toEqual([snapOf(id)]);
    return id;
  };

  it('is backed up: full, small writes, zeroes and discards, written zeros, grow, shrink, no change', async () => {
    const { cluster } = house.source;
    await house.source.create(image, { sizeBytes: BigInt(64 * unit) });
    write(image, 0, randomBytes('full', 9 * unit));
    write(image, 40 * unit + 512, randomBytes('tail', 3 * unit));
    await backup('--mode', 'full');
    for (let index = 0; index < 50; index += 1)
      write(image, (index * 1_234_577) % (60 * unit), randomBytes(`small ${index}`, 4096));
    await backup('--mode', 'incr');
    cluster.discard(imageOf(image), 4 * unit, 4 * unit);
    cluster.discard(imageOf(image), 1000, 5000);
    await backup();
    // Zeros that are written, over data, in whole blocks and in parts of them: they are not sent.
    const withZeros = Buffer.concat([randomBytes('a', 10_000), Buffer.alloc(3 * unit), randomBytes('b', 10_000)]);
    write(image, unit + 700, withZeros);
    const zeroed = await backup();
    const told = (await listed(image)).flatMap(({ backups }) => backups).find(({ id }) => id === zeroed);
    expect(told?.streamBytes).toBeLessThan(40_000);
    cluster.resize(imageOf(image), 96 * unit);
    write(image, 90 * unit, randomBytes('grown', unit));
    await backup();
    cluster.resize(imageOf(image), 30 * unit);
    await backup();
    await backup('--mode', 'incr');
    write(image, 29 * unit, randomBytes('last', unit));
    await backup();
    // All of it is one chain, and every point of it is still what it was.
    expect(new Set(ids.map((id) => chainOf(id))).size).toBe(1);
    for (const [index, id] of ids.entries()) expect(backupOf(id)).toBe(hashes[index]);
  });

  it('lists the chain', async () => {
    const [chain] = await listed(image);
    expect(chain?.active).toBe(true);
    expect(chain?.backups.map((each) => each.id)).toEqual(ids);
    expect(chain?.backups.map((each) => each.kind)).toEqual(['full', ...ids.slice(1).map(() => 'incremental')]);
    expect(chain?.backups.map((each) => each.presentOnSource)).toEqual([...ids.slice(1).map(() => false), true]);
  });

  it('restores every point under another name', async () => {
    for (const [index, id] of ids.entries()) {
      const to = `rbd/restored-${index}`;
      expect(await house.ok('restore', id, '--to', to)).toBe(to);
      expect(house.source.sha256(to)).toBe(hashes[index]);
      await house.source.remove(to);
    }
  });

  it('refuses to restore over the image, then replaces it, and the chain goes on', async () => {
    const [first = ''] = ids;
    const refused = await house.cli('restore', first);
    expectError(refused, 'IMAGE_EXISTS', 34, image);
    expect(await house.ok('restore', first, '--replace')).toBe(image);
    expect(house.source.sha256(image)).toBe(hashes[0]);
    expect((await house.source.trash('rbd')).map(({ name }) => name)).toEqual(['chain']);
    write(image, 12345, randomBytes('after', 77_777));
    const next = await house.ok('backup', image, '--mode', 'incr');
    expect(chainOf(next)).toBe(chainOf(first));
    expect(backupOf(next)).toBe(sourceAt(image, next));
    // What came between is untouched by the rollback to the first point.
    for (const [index, id] of ids.entries()) expect(backupOf(id)).toBe(hashes[index]);
    ids.push(next);
    hashes.push(sourceAt(image, next));
  });

  it('comes back after the source image is gone, and the next increment needs no full', async () => {
    const last = ids.at(-1) ?? '';
    await house.source.remove(image);
    expect(await house.ok('restore', last)).toBe(image);
    expect(house.source.sha256(image)).toBe(hashes.at(-1));
    write(image, 3 * unit, randomBytes('again', 1000));
    const next = await house.ok('backup', image, '--mode', 'incr');
    expect(backupOf(next)).toBe(sourceAt(image, next));
  });

  it('goes on for an image restored under another name', async () => {
    const copy = 'rbd/copy-of-chain';
    const [, second = ''] = ids;
    await house.ok('restore', second, '--to', copy);
    write(copy, 5 * unit, randomBytes('copy', 5000));
    const next = await house.ok('backup', copy, '--mode', 'incr');
    expect(backupOf(next)).toBe(sourceAt(copy, next));
  });
});

describe('names', () => {
  it('keeps vm1, vm10 and vm1.old apart', async () => {
    for (const name of ['vm1', 'vm10', 'vm1.old']) {
      await house.source.create(`rbd/${name}`);
      house.source.write(`rbd/${name}`, 0, randomBytes(name, 4096));
      await house.ok('backup', `rbd/${name}`);
    }
    expect((await listed('rbd/vm1')).map((chain) => chain.name.split('.2')[0])).toEqual(['vm1']);
    expect((await house.backup.imageNames('rbd2')).filter((name) => name.startsWith('vm1')).length).toBe(3);
  });

  it('takes an image that was removed and made again for another one', async () => {
    await house.source.remove('rbd/vm1');
    await house.source.create('rbd/vm1');
    const refused = await house.cli('backup', 'rbd/vm1', '--mode', 'incr');
    expectError(refused, 'IMAGE_RECREATED', 32, 'rbd/vm1');
    expect(await house.source.snapNames('rbd/vm1')).toEqual([]);
    const id = await house.ok('backup', 'rbd/vm1');
    expect(backupOf(id)).toBe(sourceAt('rbd/vm1', id));
  });
});
