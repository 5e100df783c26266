import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { randomBytes } from '../ceph/image-content.js';
import { watchedCeph } from '../fake-ceph/watched-ceph.js';
import type { DaemonInHouse } from './daemon-in-house.js';
import { startHouse, type House } from './house.js';
import { chainOf } from './site.js';

/** A dry run says what the real one will do, and neither it nor a listing asks for more than it must. */

let house: House;

beforeAll(async () => {
  house = await startHouse();
});

afterAll(() => house?.stop());

let written = 0;

const backUp = async (image: string): Promise<string> => {
  written += 1;
  house.source.write(image, written * 4096, randomBytes(`${written}`, 4096));
  return house.ok('backup', image);
};

const backUpTimes = async (image: string, count: number): Promise<string[]> => {
  if (!(await house.source.imageNames('rbd')).includes(image.slice('rbd/'.length))) await house.source.create(image);
  const ids: string[] = [];
  for (let round = 0; round < count; round += 1) ids.push(await backUp(image));
  return ids;
};

/** Runs a deletion dry and then really, and expects both to tell the same. */
const expectForetold = async (...args: string[]) => {
  const dry = await house.cli('delete', ...args, '--dry-run');
  const real = await house.cli('delete', ...args);
  expect({ ...dry, stderr: '' }).toEqual({ ...real, stderr: '' });
  const told = dry.stderr.replace(/^nothing was deleted: this was a dry run\n?/m, '').replace('would be in', 'is in');
  const withoutTime = (text: string) => text.replaceAll(/until \S+Z/g, 'until then').trimEnd();
  expect(withoutTime(told)).toBe(withoutTime(real.stderr));
  return real;
};

describe('a dry run tells what the deletion then does', () => {
  it.each([
    ['of ids in any order', (ids: string[]) => [ids[2] ?? '', ids[0] ?? ''], [0, 2], 0],
    ['of all backups of a chain', (ids: string[]) => ids.toReversed(), [0, 1, 2], 0],
    [
      'of one that nobody knows as well',
      (ids: string[]) => [ids[0]?.replace(/@\d{4}/, '@2001') ?? '', ids[1] ?? ''],
      [1],
      24,
    ],
  ])('%s', async (name, select, goes, exitCode) => {
    const ids = await backUpTimes(`rbd/plain ${name}`, 3);
    const real = await expectForetold(...select(ids));
    expect(real).toMatchObject({ exitCode, stdout: goes.map((index) => ids[index]).join('\n') });
  });

  it.each([
    ['a backup in the middle is protected', [0, 1, 2], 1, [0, 2]],
    ['the newest is protected, and all are to go', [0, 1, 2], 2, [0, 1]],
    ['the newest is protected, and is one of those to go', [1, 2], 2, [1]],
    ['the newest is protected, and stays anyway', [0, 1], 2, [0, 1]],
  ])('when %s', async (name, selected, kept, goes) => {
    const ids = await backUpTimes(`rbd/kept ${name}`, 3);
    house.backup.protect(ids[kept] ?? '');
    const real = await expectForetold(...selected.map((index) => ids[index] ?? ''));
    expect(real.stdout).toBe(goes.map((index) => ids[index]).join('\n'));
    const isTold = selected.includes(kept);
    expect(real.exitCode).toBe(isTold ? 38 : 0);
    expect(real.stderr.includes(`kept ${ids[kept]} stays: it is protected`)).toBe(isTold);
  });

  it.each([
    ['all are to go: the newest stays', [0, 1, 2], [0, 1]],
    ['all are to go, named from the newest on: the newest stays', [2, 1, 0], [0, 1]],
    ['the image stays anyway', [1, 2], [1, 2]],
    ['the last one is to go', [], []],
  ])('when the image has a snapshot of somebody else’s and %s', async (name, selected, goes) => {
    const ids = await backUpTimes(`rbd/foreign ${name}`, selected.length === 0 ? 1 : 3);
    house.backup.addSnapshot(`${chainOf(ids[0] ?? '')}@mine`);
    const real = await expectForetold(...(selected.length === 0 ? ids : selected.map((index) => ids[index] ?? '')));
    expect(real.stdout).toBe(goes.map((index) => ids[index]).join('\n'));
    expect(real.stderr.includes('"mine"')).toBe(goes.length !== selected.length || selected.length === 0);
  });

  it('of images that share a chain, which is found by the name of each', async () => {
    const [first = ''] = await backUpTimes('rbd/original', 2);
    await house.ok('restore', first, '--to', 'rbd/copy');
    const copies = await backUpTimes('rbd/copy', 2);
    expect(new Set(copies.map(chainOf))).toEqual(new Set([chainOf(first)]));
    const real = await expectForetold('rbd/original', 'rbd/copy', '--keep-last', '1');
    expect(real).toMatchObject({ exitCode: 0, stdout: [first, copies[0]].join('\n') });
  });

  it('with a trash: only the last backup of a chain takes the image there', async () => {
    const [some, all, held] = [
      await backUpTimes('rbd/trash-some', 2),
      await backUpTimes('rbd/trash-all', 2),
      await backUpTimes('rbd/trash-held', 2),
    ];
    house.receiver.config['stores'] = { rbd2: { pool: 'rbd2', trash_expiry: '1h' } };
    await house.receiver.restart();
    house.backup.protect(held[0] ?? '');
    expect(await expectForetold(...some.slice(0, 1))).toMatchObject({
      exitCode: 0,
      stdout: some[0],
    });
    const whole = await expectForetold(...all);
    expect(whole).toMatchObject({ exitCode: 0, stdout: all.join('\n') });
    expect(whole.stderr).toContain('is in the trash of the backup cluster');
    expect(await expectForetold(...held)).toMatchObject({ exitCode: 38, stdout: held.slice(1).join('\n') });
    house.receiver.config['stores'] = { rbd2: { pool: 'rbd2' } };
    await house.receiver.restart();
  });
});

/** Puts a counter between a daemon and its cluster. Answers what is asked there while something runs, by the name of the call. */
const counting = async (daemon: DaemonInHouse) => {
  let calls: readonly { readonly name: string; readonly text: string }[] = [];
  daemon.between = (port) => {
    const watched = watchedCeph(port);
    calls = watched.calls;
    return watched.ceph;
  };
  await daemon.restart();
  return async (run: () => Promise<unknown>): Promise<string[]> => {
    const from = calls.length;
    await run();
    // A look at the store, which comes of itself now and then, is a listing of names.
    return calls.slice(from).flatMap(({ name, text }) => (name === 'list' || name === 'fsid' ? [] : [text]));
  };
};

const countOf = (texts: readonly string[]): Record<string, number> => {
  const counts: Record<string, number> = {};
  for (const text of texts) {
    const name = text.slice(0, text.indexOf(' '));
    counts[name] = (counts[name] ?? 0) + 1;
  }
  return counts;
};

describe('what is asked of the clusters', () => {
  const images = ['rbd/vm0', 'rbd/vm1', 'rbd/vm2'];
  let atSource: Awaited<ReturnType<typeof counting>>;
  let atBackup: Awaited<ReturnType<typeof counting>>;

  beforeAll(async () => {
    await house.stop();
    house = await startHouse();
    atSource = await counting(house.agent);
    atBackup = await counting(house.receiver);
  });

  const both = async (run: () => Promise<unknown>) => {
    let source: string[] = [];
    const backup = await atBackup(async () => {
      source = await atSource(run);
    });
    return { source, backup };
  };

  const addBackups = async (): Promise<void> => {
    for (const image of images) await backUpTimes(image, 3);
    // Measures what would else be measured beside the questions that are counted.
    await house.ok('du');
  };

  it('for a dry run grows with the images, and not with their backups', async () => {
    const dry = () => both(() => house.ok('delete', '--all-images', '--keep-last', '1', '--dry-run'));
    await addBackups();
    const few = await dry();
    await addBackups();
    const many = await dry();
    expect(countOf(many.source)).toEqual(countOf(few.source));
    expect(countOf(many.backup)).toEqual(countOf(few.backup));
    expect(countOf(many.source)).toEqual({ info: 3, snapshots: 3 });
    // A listing of the store, and for each chain what it is now and what might keep it.
    expect(countOf(many.backup)).toEqual({
      listWithSnapshots: 1,
      snapshots: 3,
      metadata: 3,
      info: 3,
      hiddenSnapshots: 3,
      watchers: 3,
    });
  });

  it('for one image is about that image', async () => {
    const [, second = ''] = images;
    const { source, backup } = await both(() => house.ok('list', second));
    const [id = ''] = (await house.ok('list', second, '--json')).match(/rbd2\/vm1[^"]+snap/g) ?? [];
    expect(source.toSorted()).toEqual([`info ${second}`, `snapshots ${second}`]);
    expect(backup).toEqual([`snapshots ${chainOf(id)}`]);
  });

  it('for a pool of many images is a listing of it', async () => {
    for (let index = 3; index < 17; index += 1) await backUpTimes(`rbd/vm${index}`, 1);
    await house.ok('du');
    const listing = await both(() => house.ok('list'));
    expect(listing).toEqual({ source: ['listWithSnapshots rbd'], backup: ['listWithSnapshots rbd2'] });
  });
});
