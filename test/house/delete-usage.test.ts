import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { randomBytes } from '../ceph/image-content.js';
import { startHouse, type House } from './house.js';
import { chainOf, imageOf, snapOf } from './site.js';

/** Deletion in every place, and figures that agree with the cluster's own to the byte. */

const KiB = 1024;
let house: House;

beforeAll(async () => {
  house = await startHouse({ sourcePools: ['rbd', 'compute'], stores: ['rbd2', 'cold'] });
});

afterAll(() => house?.stop());

interface Made {
  readonly id: string;
  readonly sha256: string;
}

/** Writes something new at a place of its own and over what was there, and backs it up. */
const backUp = async (image: string, round: number, ...args: string[]): Promise<Made> => {
  house.source.write(image, round * 128 * KiB, randomBytes(`${image} ${round}`, 64 * KiB + round * 512));
  house.source.write(image, 10_000, randomBytes(`${image} again ${round}`, 5_000));
  const id = await house.ok('backup', image, ...args);
  return { id, sha256: house.source.sha256(`${image}@${snapOf(id)}`) };
};

const backUpTimes = async (image: string, count: number): Promise<Made[]> => {
  await house.source.create(image);
  const made: Made[] = [];
  for (let round = 0; round < count; round += 1) made.push(await backUp(image, round));
  expect(new Set(made.map(({ id }) => chainOf(id))).size).toBe(1);
  return made;
};

const listed = async (...args: string[]): Promise<string[]> => {
  const chains = JSON.parse(await house.ok('list', ...args, '--json')) as { backups: { id: string }[] }[];
  return chains.flatMap(({ backups }) => backups.map(({ id }) => id));
};

/** Restores a backup under a name of its own, compares it, and removes it. */
const expectRestorable = async ({ id, sha256 }: Made): Promise<void> => {
  const to = 'rbd/check';
  await house.ok('restore', id, '--to', to);
  expect(house.source.sha256(to)).toBe(sha256);
  await house.source.remove(to);
};

/** What each of these backups of one chain added, oldest first. */
const addedByEach = async (ids: readonly string[]): Promise<number[]> => {
  const added: number[] = [];
  for (const [index, id] of ids.entries()) added.push(await house.backup.addedBytes(id, ids[index - 1]));
  return added;
};

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);

describe.each([0, 1, 2, 3, 4])('the backup at place %i of a chain of five is deleted', (place) => {
  const image = `rbd/place-${place}`;
  let made: Made[] = [];
  let left: Made[] = [];

  it('is gone, and the others stay what they were', async () => {
    made = await backUpTimes(image, 5);
    const { id } = made[place] ?? { id: '' };
    const { exitCode, stdout, stderr } = await house.cli('delete', id);
    expect({ exitCode, stdout }).toEqual({ exitCode: 0, stdout: id });
    expect(stderr).toBe(place === 4 ? `the next backup of ${image} to store rbd2 will be a full one` : '');
    left = made.filter((each) => each.id !== id);
    expect(await listed(image)).toEqual(left.map((each) => each.id));
    expect(await house.backup.snapNames(chainOf(id))).toEqual(left.map((each) => snapOf(each.id)));
    for (const each of left) expect(house.backup.sha256(each.id)).toBe(each.sha256);
  });

  it('each of the others can be restored', async () => {
    for (const each of left) await expectRestorable(each);
  });

  it('what they take up is measured anew where it changed', async () => {
    const ids = left.map(({ id }) => id);
    const usage = JSON.parse(await house.ok('du', image, '--json')) as {
      usedBytes: number;
      chains: { backups: { id: string; addedBytes: number }[] }[];
    };
    const added = await addedByEach(ids);
    expect(usage.chains[0]?.backups.map((backup) => backup.addedBytes)).toEqual(added);
    expect(usage.usedBytes).toBe(sum(added));
  });

  it(place === 4 ? 'the next is a full, as was said' : 'the next is an increment on the newest', async () => {
    const newest = made[4]?.id ?? '';
    if (place === 4) {
      expect(await house.source.snapNames(image)).toEqual([]);
      const refused = await house.cli('backup', image, '--mode', 'incr');
      expect(refused).toMatchObject({ exitCode: 31, stdout: '' });
      expect(refused.stderr).toContain('NO_COMMON_SNAPSHOT');
    } else {
      expect(await house.source.snapNames(image)).toEqual([snapOf(newest)]);
    }
    const next = await backUp(image, 6);
    expect(chainOf(next.id) === chainOf(newest)).toBe(place !== 4);
    expect(await listed(image)).toEqual([...left.map(({ id }) => id), next.id]);
    expect(house.backup.sha256(next.id)).toBe(next.sha256);
    await expectRestorable(next);
  });
});

describe('a dry run', () => {
  const image = 'rbd/dry';
  let ids: string[] = [];

  it.each([
    ['an id', () => [ids[1] ?? ''], () => [ids[1] ?? '']],
    ['the newest', () => [ids[2] ?? ''], () => [ids[2] ?? '']],
    ['a chain', () => ['--chain', chainOf(ids[0] ?? '')], () => ids],
    ['a rule', () => [image, '--keep-last', '1'], () => ids.slice(0, 2)],
  ])('of %s prints what would go and removes nothing', async (_, args, expected) => {
    if (ids.length === 0) ids = (await backUpTimes(image, 3)).map(({ id }) => id);
    const { exitCode, stdout, stderr } = await house.cli('delete', ...args(), '--dry-run');
    expect({ exitCode, stdout }).toEqual({ exitCode: 0, stdout: expected().join('\n') });
    expect(stderr).toContain('nothing was deleted: this was a dry run');
    expect(await listed(image)).toEqual(ids);
    expect(await house.source.snapNames(image)).toEqual([snapOf(ids[2] ?? '')]);
  });

  it('of the source snapshots too', async () => {
    const snapshot = `${image}@${snapOf(ids[2] ?? '')}`;
    expect(await house.ok('delete', '--source-snapshots', image, '--dry-run')).toBe(snapshot);
    expect(await house.source.snapNames(image)).toHaveLength(1);
    expect(await house.ok('delete', '--source-snapshots', image)).toBe(snapshot);
    expect(await house.source.snapNames(image)).toEqual([]);
    expect(await house.cli('delete', '--source-snapshots', image)).toMatchObject({
      exitCode: 0,
      stdout: '',
      stderr: 'nothing to delete',
    });
  });
});

describe('rules', () => {
  /** Three chains of two backups. */
  const chains = async (image: string): Promise<Made[]> => {
    await house.source.create(image);
    const made: Made[] = [];
    for (let round = 0; round < 6; round += 1) {
      made.push(await backUp(image, round, '--mode', round % 2 === 0 ? 'full' : 'incr'));
    }
    return made;
  };

  const expectLeft = async (image: string, left: readonly Made[]): Promise<void> => {
    expect(await listed(image)).toEqual(left.map(({ id }) => id));
    for (const each of left) expect(house.backup.sha256(each.id)).toBe(each.sha256);
  };

  it('--keep-last keeps the newest backups, --keep-full the newest chains, of this image only', async () => {
    const made = await chains('rbd/vm1');
    const other = await backUpTimes('rbd/vm10', 2);
    const namesake = await backUpTimes('compute/vm1', 2);
    const gone = await house.ok('delete', 'rbd/vm1', '--keep-last', '5');
    expect(gone).toBe(made[0]?.id);
    await expectLeft('rbd/vm1', made.slice(1));
    expect((await house.ok('delete', 'rbd/vm1', '--keep-full', '2')).split('\n')).toEqual([made[1]?.id]);
    await expectLeft('rbd/vm1', made.slice(2));
    // What either rule keeps stays.
    expect(await house.ok('delete', 'rbd/vm1', '--keep-last', '3', '--keep-full', '1')).toBe(made[2]?.id);
    await expectLeft('rbd/vm1', made.slice(3));
    expect(await house.backup.imageNames('rbd2')).not.toContain(chainOf(made[0]?.id ?? '').slice('rbd2/'.length));
    await expectLeft('rbd/vm10', other);
    await expectLeft('compute/vm1', namesake);
    // The base of the next increment was never in danger.
    const next = await backUp('rbd/vm1', 6, '--mode', 'incr');
    expect(chainOf(next.id)).toBe(chainOf(made[5]?.id ?? ''));
    await expectRestorable(next);
  });

  it('--older-than goes by age, and the newest backup of each image stays', async () => {
    const before = await listed();
    expect(await house.cli('delete', '--all-images', '--older-than', '1d')).toMatchObject({
      exitCode: 0,
      stdout: '',
      stderr: 'nothing to delete',
    });
    const image = 'rbd/young';
    const [, second] = await backUpTimes(image, 2);
    house.clock.aheadMs += 2_000;
    const third = await backUp(image, 2);
    await house.ok('delete', image, '--older-than', '1s');
    await expectLeft(image, [third]);
    expect(second).toBeDefined();
    house.clock.aheadMs += 1_100;
    expect(await house.ok('delete', image, '--older-than', '1s')).toBe('');
    await expectLeft(image, [third]);
    expect((await listed()).filter((id) => id !== third.id)).toEqual(before);
  });

  it('--all-images, and JSON', async () => {
    const before = JSON.parse(await house.ok('list', '--json')) as { image: string; backups: { id: string }[] }[];
    const images = new Set(before.map(({ image }) => image));
    const result = JSON.parse(await house.ok('delete', '--all-images', '--keep-last', '1', '--json')) as {
      deleted: string[];
    };
    const after = await listed();
    expect(result).toMatchObject({ dryRun: false, error: null, notes: [] });
    expect(after).toHaveLength(images.size);
    expect([...result.deleted, ...after].toSorted()).toEqual(
      before.flatMap(({ backups }) => backups.map(({ id }) => id)).toSorted(),
    );
  });

  it('--chain takes a whole chain, its source snapshot too', async () => {
    const made = await backUpTimes('rbd/whole', 3);
    const { stdout, stderr } = await house.cli('delete', '--chain', chainOf(made[0]?.id ?? '').slice('rbd2/'.length));
    expect(stdout.split('\n')).toEqual(made.map(({ id }) => id));
    expect(stderr).toBe('the next backup of rbd/whole to store rbd2 will be a full one');
    expect(await listed('rbd/whole')).toEqual([]);
    expect(await house.source.snapNames('rbd/whole')).toEqual([]);
  });

  it('--chain takes the source snapshots of every image that the chain was made of', async () => {
    const [first = { id: '' }] = await backUpTimes('rbd/forebear', 1);
    await house.ok('restore', first.id, '--to', 'rbd/heir');
    const next = await backUp('rbd/heir', 1, '--mode', 'incr');
    expect(chainOf(next.id)).toBe(chainOf(first.id));
    expect(await house.source.snapNames('rbd/forebear')).toEqual([snapOf(first.id)]);
    expect(await house.source.snapNames('rbd/heir')).toEqual([snapOf(next.id)]);
    const { stdout } = await house.cli('delete', '--chain', chainOf(first.id));
    expect(stdout.split('\n')).toEqual([first.id, next.id]);
    expect(await house.source.snapNames('rbd/forebear')).toEqual([]);
    expect(await house.source.snapNames('rbd/heir')).toEqual([]);
  });

  it('--source-snapshots takes what a restore left, also when its chain is gone', async () => {
    const [{ id } = { id: '' }] = await backUpTimes('rbd/bequest', 1);
    await house.ok('restore', id, '--to', 'rbd/orphan');
    house.source.addSnapshot('rbd/orphan@mine');
    await house.ok('delete', '--chain', chainOf(id));
    expect(await house.ok('delete', '--source-snapshots', 'rbd/orphan')).toBe(`rbd/orphan@${snapOf(id)}`);
    expect(await house.source.snapNames('rbd/orphan')).toEqual(['mine']);
  });

  it('the next increment builds on an older common backup when one is left', async () => {
    const image = 'rbd/protected';
    await house.source.create(image);
    const first = await backUp(image, 0);
    // A protected snapshot cannot be retired, so two backups have theirs on the source.
    house.source.protect(`${image}@${snapOf(first.id)}`);
    const second = await backUp(image, 1);
    expect(await house.source.snapNames(image)).toEqual([snapOf(first.id), snapOf(second.id)]);
    const { stdout, stderr } = await house.cli('delete', second.id);
    expect(stdout).toBe(second.id);
    expect(stderr).toBe(`the next increment of ${image} will build on ${first.id}`);
    expect(await house.source.snapNames(image)).toEqual([snapOf(first.id)]);
    const third = await backUp(image, 2, '--mode', 'incr');
    expect(chainOf(third.id)).toBe(chainOf(first.id));
    for (const each of [first, third]) {
      expect(house.backup.sha256(each.id)).toBe(each.sha256);
      await expectRestorable(each);
    }
  });

  it('of two stores each has a base of its own', async () => {
    const image = 'rbd/two-stores';
    await house.source.create(image);
    const warm = await backUp(image, 0);
    const cold = await backUp(image, 1, '--store', 'cold');
    const { stdout, stderr } = await house.cli('delete', cold.id);
    expect(stdout).toBe(cold.id);
    expect(stderr).toBe(`the next backup of ${image} to store cold will be a full one`);
    expect(await house.source.snapNames(image)).toEqual([snapOf(warm.id)]);
    expect(chainOf((await backUp(image, 2, '--mode', 'incr')).id)).toBe(chainOf(warm.id));
  });
});

describe('usage', () => {
  it('du and report agree with the cluster to the byte', async () => {
    const image = 'compute/billed';
    const made = await backUpTimes(image, 3);
    const cold = await backUp(image, 3, '--store', 'cold');
    const ids = made.map(({ id }) => id);
    const check = async (left: readonly string[]) => {
      const added = await addedByEach(left);
      const [line] = (JSON.parse(await house.ok('report', '--json')) as Record<string, unknown>[]).filter(
        (each) => each['image'] === 'billed',
      );
      expect(line).toMatchObject({
        store: 'rbd2',
        client: 'agent1',
        pool: 'compute',
        namespace: '',
        image: 'billed',
        fsid: house.source.fsid,
        fullBackups: left.includes(ids[0] ?? '') ? 1 : 0,
        incrementalBackups: left.filter((id) => id !== ids[0]).length,
        addedBytes: sum(added),
        sizeBytes: 1024 * KiB,
      });
      expect(JSON.parse(await house.ok('du', image, '--json'))).toMatchObject({
        usedBytes: sum(added),
        backups: left.length,
      });
      expect(await house.ok('du', image, '--mb')).toBe(String(Math.floor(sum(added) / (1024 * KiB))));
      for (const [index, id] of left.entries()) {
        expect(JSON.parse(await house.ok('du', id, '--json'))).toMatchObject({ usedBytes: added[index], backups: 1 });
      }
    };
    await check(ids);
    await house.ok('delete', ids[1] ?? '');
    await check(ids.filter((_, index) => index !== 1));
    await house.ok('delete', ids[0] ?? '');
    await check(ids.slice(2));
    const everything = JSON.parse(await house.ok('du', '--all-stores', '--json')) as { chains: { store: string }[] };
    expect(new Set(everything.chains.map(({ store }) => store))).toEqual(new Set(['rbd2', 'cold']));
    expect(JSON.parse(await house.ok('du', cold.id, '--json'))).toMatchObject({
      usedBytes: await house.backup.addedBytes(cold.id),
    });
  });

  it('the whole store is the sum of its images', async () => {
    const { usedBytes } = JSON.parse(await house.ok('du', '--store', 'rbd2', '--json')) as { usedBytes: number };
    const chains = JSON.parse(await house.ok('list', '--json')) as { backups: { id: string }[] }[];
    let total = 0;
    for (const { backups } of chains) total += sum(await addedByEach(backups.map(({ id }) => id)));
    expect(usedBytes).toBe(total);
  });

  it('the report takes the time range by the time of the commit', async () => {
    const image = 'rbd/ranged';
    const [first, second] = await backUpTimes(image, 2);
    const [chain] = JSON.parse(await house.ok('list', image, '--json')) as { backups: { committedAt: string }[] }[];
    const [from = '', until = ''] = (chain?.backups ?? []).map(({ committedAt }) => committedAt);
    const lineFor = async (...args: string[]) =>
      (JSON.parse(await house.ok('report', ...args, '--json')) as Record<string, unknown>[]).find(
        (each) => each['image'] === 'ranged',
      );
    const ofFirst = await house.backup.addedBytes(first?.id ?? '');
    const ofSecond = await house.backup.addedBytes(second?.id ?? '', first?.id);
    expect(await lineFor('--from', from, '--until', until)).toMatchObject({ addedBytes: ofFirst, fullBackups: 1 });
    expect(await lineFor('--from', until)).toMatchObject({ addedBytes: ofSecond, incrementalBackups: 1 });
    expect(await lineFor('--until', from)).toBeUndefined();
    const csv = await house.ok('report', '--from', from, '--until', until);
    expect(csv.split('\r\n')[0]).toContain('store,client,pool,namespace,image,fsid,full_backups');
    expect(csv).toContain(`rbd2,agent1,rbd,,ranged,${house.source.fsid},1,0,${ofFirst},`);
  });
});

describe('a restored copy', () => {
  it('is an image of its own, though it goes on in the chain of the original', async () => {
    const [prod, copy] = ['rbd/prod', 'rbd/prod-copy'];
    const [first, second] = await backUpTimes(prod, 2);
    await house.ok('restore', second?.id ?? '', '--to', copy);
    const ofCopy = await backUp(copy, 2, '--mode', 'incr');
    const ofProd = await backUp(prod, 3, '--mode', 'incr');
    const copyAgain = await backUp(copy, 4, '--mode', 'incr');
    const all = [first, second, ofCopy, ofProd, copyAgain].map((made) => made?.id ?? '');
    expect(new Set(all.map(chainOf)).size).toBe(1);
    const added = await addedByEach(all);
    const addedBy = async (image: string) =>
      (JSON.parse(await house.ok('du', image, '--json')) as { usedBytes: number }).usedBytes;

    expect(await listed(prod)).toEqual([first?.id, second?.id, ofProd.id]);
    expect(await listed(copy)).toEqual([ofCopy.id, copyAgain.id]);
    expect(await addedBy(prod)).toBe(sum([added[0] ?? 0, added[1] ?? 0, added[3] ?? 0]));
    expect(await addedBy(copy)).toBe(sum([added[2] ?? 0, added[4] ?? 0]));
    expect(await addedBy(chainOf(ofProd.id))).toBe(sum(added));

    expect((await house.ok('delete', prod, '--keep-last', '1')).split('\n')).toEqual([first?.id, second?.id]);
    expect((await house.ok('delete', copy, '--keep-last', '1')).split('\n')).toEqual([ofCopy.id]);
    expect(await listed(prod)).toEqual([ofProd.id]);
    expect(await listed(copy)).toEqual([copyAgain.id]);
    for (const each of [ofProd, copyAgain]) await expectRestorable(each);

    // The copy takes the original's place, and its name.
    await house.source.remove(prod);
    await house.source.rename(copy, prod);
    const renamed = await backUp(prod, 5, '--mode', 'incr');
    expect(await listed(prod)).toEqual([ofProd.id, renamed.id]);
    expect(await house.ok('delete', prod, '--keep-last', '1')).toBe(ofProd.id);
    expect(await listed(copy)).toEqual([copyAgain.id]);
  });
});

describe('a name that nobody has', () => {
  it.each([['list'], ['du'], ['dump'], ['delete', '--keep-last', '1']])('%s %s %s', async (verb, ...args) => {
    const end = await house.cli(verb, 'rbd/typo', ...args);
    expect(end).toMatchObject({ exitCode: 20, stdout: '' });
    expect(end.stderr).toContain('IMAGE_NOT_FOUND: there is no backup of "rbd/typo" in store "rbd2"');
  });

  it('is not that of an image which was never backed up', async () => {
    await house.source.create('rbd/fresh');
    for (const verb of ['list', 'du', 'dump']) {
      expect(await house.cli(verb, 'rbd/fresh')).toMatchObject({
        exitCode: 0,
        stdout: '',
        stderr: 'no backups of rbd/fresh',
      });
    }
    expect(await house.cli('delete', 'rbd/fresh', '--keep-last', '1')).toMatchObject({
      exitCode: 0,
      stderr: 'nothing to delete',
    });
  });
});

describe('what cannot be deleted', () => {
  const nobody = 'rbd2/nobody.2026-01-01.00:00:00.000000.bkp.image';
  it.each([
    [[`${nobody}@2026-01-01.00:00:00.000000.snap`], 24, 'BACKUP_NOT_FOUND'],
    [['--chain', nobody], 24, 'BACKUP_NOT_FOUND'],
    [['nonsense'], 11, 'INVALID_BACKUP_ID'],
    [['rbd/vm1'], 2, 'is an image or a chain'],
    [['--source-snapshots', 'rbd/nobody'], 20, 'IMAGE_NOT_FOUND'],
    [['--source-snapshots', 'nopool/nobody'], 21, 'POOL_NOT_FOUND'],
    [[`${nobody}@2026-01-01.00:00:00.000000.snap`, '--receiver', 'far'], 23, 'RECEIVER_NOT_FOUND'],
    [['rbd/vm1', '--keep-last', '1', '--store', 'nowhere'], 22, 'STORE_NOT_FOUND'],
    [['rbd/vm1', '--keep-last', '0'], 2, 'whole number'],
  ])('%j', async (args, exitCode, words) => {
    const end = await house.cli('delete', ...args);
    expect(end).toMatchObject({ exitCode, stdout: '' });
    expect(end.stderr).toContain(words);
  });

  it('what went before an unknown id is told', async () => {
    const made = await backUpTimes('rbd/half', 2);
    const args = [made[1]?.id ?? '', `${nobody}@2026-01-01.00:00:00.000000.snap`];
    const { exitCode, stdout } = await house.cli('delete', ...args, '--json');
    expect(exitCode).toBe(24);
    expect(JSON.parse(stdout)).toMatchObject({ deleted: [made[1]?.id], error: { code: 'BACKUP_NOT_FOUND' } });
    expect(await listed('rbd/half')).toEqual([made[0]?.id]);
    // Its source snapshot serves nobody any more.
    expect(await house.source.snapNames('rbd/half')).toEqual([]);
  });
});

describe('jobs that the command leaves to the agent', () => {
  it('a key is one job, however often it is sent', async () => {
    await house.source.create('rbd/keyed');
    const args = ['backup', 'rbd/keyed', '--idempotency-key', 'night 1', '--json'];
    const job = JSON.parse(await house.ok(...args, '--async')) as { id: string };
    const again = JSON.parse(await house.ok(...args)) as { id: string; backupId: string; state: string };
    expect(again).toMatchObject({ id: job.id, state: 'committed' });
    expect(await listed('rbd/keyed')).toEqual([again.backupId]);
  });

  it('--async still fails when there is nothing to be done', async () => {
    const refused = await house.cli('backup', 'rbd/nobody', '--async');
    expect(refused).toMatchObject({ exitCode: 20, stdout: expect.stringMatching(/^\w+$/) as string });
    expect(refused.stderr).toContain('IMAGE_NOT_FOUND');
    const [id = ''] = await listed('rbd/keyed');
    const exists = await house.cli('restore', id, '--async');
    expect(exists).toMatchObject({ exitCode: 34 });
    const job = await house.ok('restore', id, '--async', '--to', 'rbd/keyed-back');
    expect(await house.ok('job', 'wait', job)).toBe('rbd/keyed-back');
    expect(await house.source.imageNames('rbd')).toContain('keyed-back');
  });
});

describe('a store with trash_expiry', () => {
  it('puts the image of a chain into the trash, from where it comes back whole', async () => {
    const made = await backUpTimes('rbd/trashed', 3);
    const chain = chainOf(made[0]?.id ?? '').slice('rbd2/'.length);
    expect(await house.backup.trash('rbd2')).toEqual([]);
    house.receiver.config['stores'] = { rbd2: { pool: 'rbd2', trash_expiry: '1h' }, cold: { pool: 'cold' } };
    await house.receiver.restart();

    await house.ok('delete', made[1]?.id ?? '');
    expect(await house.backup.trash('rbd2')).toEqual([]);
    const started = Date.now();
    const whole = await house.cli('delete', '--chain', `rbd2/${chain}`);
    expect(whole.stdout.split('\n')).toEqual([made[0]?.id, made[2]?.id]);
    const until = /^the image (\S+) is in the trash of the backup cluster until (\S+)$/m.exec(whole.stderr);
    expect(until?.[1]).toBe(`rbd2/${chain}`);
    const hours = (Date.parse(until?.[2] ?? '') - started) / 3_600_000;
    expect(hours).toBeGreaterThan(0.99);
    expect(hours).toBeLessThan(1.1);
    expect(await listed('rbd/trashed')).toEqual([]);
    const [thrown] = await house.backup.trash('rbd2');
    expect(thrown?.name).toBe(chain);
    await house.backup.ceph.restoreFromTrash(thrown?.id ?? '', imageOf(`rbd2/${chain}`));
    expect(await listed('rbd/trashed')).toEqual([made[0]?.id, made[2]?.id]);
    for (const index of [0, 2]) {
      const { id, sha256 } = made[index] ?? { id: '', sha256: '' };
      await expectRestorable({ id, sha256 });
    }
    // The last backup of a chain takes the chain's image with it, into the trash too.
    const [oldest, newest] = [made[0]?.id ?? '', made[2]?.id ?? ''];
    expect(JSON.parse(await house.ok('delete', oldest, '--json'))).toMatchObject({ deleted: [oldest], trashed: [] });
    const dry = JSON.parse(await house.ok('delete', newest, '--dry-run', '--json')) as { notes: string[] };
    expect(dry.notes[0]).toContain(`the image rbd2/${chain} would be in the trash of the backup cluster until `);
    expect(JSON.parse(await house.ok('delete', newest, '--json'))).toMatchObject({
      trashed: [{ id: newest, until: expect.stringMatching(/^\d{4}-\d\d-\d\dT/) }],
    });
    expect((await house.backup.trash('rbd2')).map(({ name }) => name)).toEqual([chain]);
  });

  it('a receiver that is away is told', async () => {
    const [id = ''] = await listed();
    await house.receiver.stop();
    for (const args of [['delete', id], ['du'], ['report'], ['dump'], ['delete', '--source-snapshots', 'rbd/vm1']]) {
      const end = await house.cli(...args);
      expect({ args, exitCode: end.exitCode, stdout: end.stdout }).toEqual({ args, exitCode: 41, stdout: '' });
      expect(end.stderr).toMatch(/RECEIVER_UNREACHABLE: .*\nhint: /);
    }
    await house.receiver.start();
    expect(await house.ok('delete', id)).toBe(id);
  });
});
