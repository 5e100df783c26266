import { createHash } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ControlClient } from '../blackbox/control-client.js';
import { failureOf } from '../blackbox/calls.js';
import { randomBytes } from '../ceph/image-content.js';
import { expectError } from '../harness/expect-error.js';
import { startHouse, type House } from './house.js';
import { snapOf } from './site.js';

/** How a backup is named without its whole id: by a short one, or as the newest of an image (not after a time). */

const image = 'rbd/vm1';
let house: House;
let ids: string[];
let hashes: string[];

beforeAll(async () => {
  house = await startHouse({ stores: ['rbd2', 'other'] });
  await house.source.create(image);
  [ids, hashes] = [[], []];
  for (const round of [1, 2, 3]) {
    house.source.write(image, round * 4096, randomBytes(`round ${round}`, 10_000));
    const id = (await house.ok('backup', image)).trim();
    ids.push(id);
    hashes.push(house.source.sha256(`${image}@${snapOf(id)}`));
    house.clock.aheadMs += 3_600_000;
  }
});

afterAll(() => house?.stop());

const shortOf = (id = ''): string => createHash('sha256').update(id).digest('hex').slice(0, 8);
const timeOf = (id = ''): string => snapOf(id).replace(/\.snap$/, '');
/** Restores to an image that is gone afterwards. Answers its content, and which backup it was said to be. */
const restored = async (...args: string[]): Promise<{ sha256: string; stderr: string }> => {
  const { exitCode, stdout, stderr } = await house.cli('restore', ...args, '--to', 'rbd/back');
  expect({ exitCode, stdout }).toEqual({ exitCode: 0, stdout: 'rbd/back' });
  const sha256 = house.source.sha256('rbd/back');
  await house.source.remove('rbd/back');
  return { sha256, stderr };
};

describe('a short id', () => {
  it('is shown by list, dump and du', async () => {
    const shorts = ids.map(shortOf);
    for (const verb of ['list', 'dump']) {
      const text = await house.ok(verb, image);
      for (const short of shorts) expect(text).toContain(` ${short}  rbd2/`);
      const [chain] = JSON.parse(await house.ok(verb, image, '--json')) as { backups: { shortId: string }[] }[];
      expect(chain?.backups.map(({ shortId }) => shortId)).toEqual(shorts);
    }
    const { chains } = JSON.parse(await house.ok('du', image, '--json')) as {
      chains: { backups: { shortId: string }[] }[];
    };
    expect(chains[0]?.backups.map(({ shortId }) => shortId)).toEqual(shorts);
  });

  it('is restored, and the job has the whole id', async () => {
    const { sha256, stderr } = await restored(shortOf(ids[1]).toUpperCase());
    expect(sha256).toBe(hashes[1]);
    expect(stderr).toContain(`restoring ${ids[1]}`);
    const [job] = JSON.parse(await house.ok('jobs', '--json', '--limit', '1')) as object[];
    expect(job).toMatchObject({ backupId: ids[1], store: 'rbd2' });
  });

  it('is measured, and deleted, beside whole ones', async () => {
    const { chains } = JSON.parse(await house.ok('du', shortOf(ids[1]), '--json')) as {
      chains: { backups: { id: string }[] }[];
    };
    expect(chains.flatMap(({ backups }) => backups.map(({ id }) => id))).toEqual([ids[1]]);
    const gone = await house.ok('delete', shortOf(ids[0]), ids[1] ?? '', shortOf(ids[1]), '--dry-run');
    expect(gone.split('\n')).toEqual(ids.slice(0, 2));
  });

  it('keeps a backup from a policy', async () => {
    const control = new ControlClient(house.socket);
    const policy = { images: [image], keepLast: 1, keepIds: [shortOf(ids[0])] };
    const told = await control.caller.all<{ deleted?: string }>('deleteBackups', { policy, dryRun: true });
    control.close();
    expect(told.flatMap(({ deleted }) => deleted ?? [])).toEqual([ids[1]]);
  });

  it('that nobody has changes nothing', async () => {
    const before = house.backup.cluster.everything();
    expectError(await house.cli('restore', '01234567'), 'BACKUP_NOT_FOUND', 24, 'no backup in store "rbd2"');
    expectError(await house.cli('delete', ids[0] ?? '', '01234567'), 'BACKUP_NOT_FOUND', 24, '"01234567"');
    expectError(await house.cli('du', '01234567'), 'BACKUP_NOT_FOUND', 24, '"01234567"');
    // It is looked for in one store.
    expect(await house.cli('restore', shortOf(ids[0]), '--store', 'other')).toMatchObject({ exitCode: 24 });
    expect(await house.cli('restore', ids[0] ?? '', '--store', 'other')).toMatchObject({ exitCode: 12 });
    expect(house.backup.cluster.everything()).toEqual(before);
  });

  it('is not fewer digits, and no image', async () => {
    expectError(await house.cli('restore', 'abcdef1'), 'INVALID_BACKUP_ID', 11, 'a short id has 8 digits');
    expectError(await house.cli('delete', 'abcd'), 'INVALID_BACKUP_ID', 11, 'a short id has 8 digits');
    expect(await house.cli('backup', '01234567')).toMatchObject({ exitCode: 10 });
  });

  it('of two backups is refused with their names', async () => {
    const chain = 'twins.2015-07-07.10:40:39.458883.bkp.image';
    const idAt = (micros: number) => `rbd2/${chain}@2015-07-08.03:00:00.${String(micros).padStart(6, '0')}.snap`;
    const [one, two] = twins(idAt);
    await house.backup.create(`rbd2/${chain}`);
    for (const id of [one, two]) house.backup.addSnapshot(id);
    const before = house.backup.cluster.everything();
    for (const args of [
      ['restore', shortOf(one)],
      ['delete', shortOf(one)],
      ['du', shortOf(two)],
    ]) {
      const end = await house.cli(...args);
      expectError(end, 'BACKUP_AMBIGUOUS', 18, '2 backups in store "rbd2"');
      for (const id of [one, two]) expect(end.stderr).toContain(id);
    }
    expect(house.backup.cluster.everything()).toEqual(before);
    // More digits tell them apart.
    const longer = createHash('sha256').update(one).digest('hex').slice(0, 20);
    expect(await house.ok('delete', longer, '--dry-run')).toBe(one);
    await house.ok('delete', '--chain', `rbd2/${chain}`);
  });
});

/** Two ids of which the short ones are the same. */
const twins = (idAt: (number: number) => string): [string, string] => {
  const seen = new Map<string, string>();
  for (let number = 0; ; number += 1) {
    const id = idAt(number);
    const other = seen.get(shortOf(id));
    if (other !== undefined) return [other, id];
    seen.set(shortOf(id), id);
  }
};

describe('an image as it was', () => {
  it('at a time in the form of the ids, of list, or of anybody', async () => {
    for (const [index, id] of ids.entries()) {
      expect((await restored(image, '--at', timeOf(id))).sha256).toBe(hashes[index]);
      const listed = `${timeOf(id).slice(0, 10)} ${timeOf(id).slice(11, 19)}Z`;
      expect((await restored(image, '--at', listed)).stderr).toContain(`restoring ${id}`);
    }
    const between = new Date(Date.parse(`${timeOf(ids[1]).replace('.', 'T').slice(0, 19)}Z`) + 1_800_000).toISOString();
    expect((await restored(image, '--at', between)).sha256).toBe(hashes[1]);
  });

  it('last', async () => {
    expect((await restored(image, '--latest')).sha256).toBe(hashes[2]);
  });

  it('takes its own place without --to', async () => {
    const before = house.source.sha256(image);
    expect(await house.ok('restore', image, '--at', timeOf(ids[0]), '--replace')).toBe(image);
    expect(house.source.sha256(image)).toBe(hashes[0]);
    expect(await house.ok('restore', image, '--latest', '--replace')).toBe(image);
    expect(house.source.sha256(image)).toBe(before);
  });

  it('before the first backup is refused, with the name of that', async () => {
    const end = await house.cli('restore', image, '--at', '2020-01-01', '--to', 'rbd/back');
    expectError(end, 'BACKUP_NOT_FOUND', 24, `the oldest backup of "rbd/vm1" in store "rbd2" is from after 20`);
    expect(end.stderr).toContain(ids[0]);
  });

  it.each([
    [['rbd/vm1'], 2, 'is an image: say which'],
    [['rbd/vm1', '--latest', '--at', '2026-01-01'], 2, 'do not go together'],
    [['01234567', '--latest'], 2, 'is a backup'],
    [['rbd/vm1', '--at', 'yesterday'], 2, 'Expected a time'],
    [['rbd/vm1', '--at', '2999-01-01'], 12, 'lies in the future'],
    [['rbd/nobody', '--latest'], 20, 'no backup of "rbd/nobody"'],
    [['other/vm1', '--latest'], 20, 'no backup of "other/vm1"'],
    [['rbd/vm1', '--latest', '--store', 'other'], 24, 'no backup of "rbd/vm1" in store "other"'],
  ])('%j is refused', async (args, exitCode, words) => {
    const end = await house.cli('restore', ...args);
    expect(end).toMatchObject({ exitCode, stdout: '' });
    expect(end.stderr).toContain(words);
  });

  it('an id with a time is refused', async () => {
    expect(await house.cli('restore', ids[0] ?? '', '--at', '2026-01-01')).toMatchObject({ exitCode: 2 });
    const control = new ControlClient(house.socket);
    for (const request of [
      { backupId: ids[0], atMs: '1' },
      { backupId: ids[0], image },
      { image, atMs: '-1' },
    ]) {
      expect((await failureOf(control.caller.unary('startRestore', request))).detail.code).toBe('INVALID_REQUEST');
    }
    control.close();
  });

  it('is the same one for the same key, also when there is a newer one by now', async () => {
    const args = ['restore', image, '--latest', '--to', 'rbd/keyed', '--idempotency-key', 'night', '--json'];
    const first = JSON.parse(await house.ok(...args)) as { id: string; backupId: string };
    const newer = await house.ok('backup', image);
    expect(newer).not.toBe(first.backupId);
    expect(JSON.parse(await house.ok(...args))).toMatchObject({ id: first.id, backupId: first.backupId });
    await house.source.remove('rbd/keyed');
    await house.ok('delete', newer);
  });

  it('of the older tool counts by its name', async () => {
    const chain = 'rbd2/legacy.2015-07-07.10:40:39.458883.bkp.image';
    await house.backup.create(chain);
    house.backup.write(chain, 0, randomBytes('legacy', 5_000));
    house.backup.addSnapshot(`${chain}@2015-07-08.03:00:00.000001.snap`);
    const content = house.backup.sha256(`${chain}@2015-07-08.03:00:00.000001.snap`);
    // Its pool is the one that was asked for: the older tool did not write it down.
    expect(await house.ok('restore', 'rbd/legacy', '--at', '2015-07-08T03:00:01Z')).toBe('rbd/legacy');
    expect(house.source.sha256('rbd/legacy')).toBe(content);
    expect(await house.cli('restore', 'rbd/legacy', '--at', '2015-07-08', '--to', 'rbd/x')).toMatchObject({
      exitCode: 24,
    });
  });
});
