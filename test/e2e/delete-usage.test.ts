import { readFile, writeFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { applyWrites, randomBytes, sha256OfExport } from '../ceph/cluster.js';
import { startDaemon } from '../harness/daemon.js';
import { snapNames } from '../harness/look.js';
import { startPair, type Pair } from '../harness/pair.js';

/** Deletion on real Ceph, and figures that agree with Ceph's own to the byte. In every place, and by every rule: test/house. */

const MiB = 1024 * 1024;
let pair: Pair;

beforeAll(async () => {
  pair = await startPair({ name: 'delete', sourcePools: ['rbd', 'compute'], stores: ['rbd2'] });
});

afterAll(async () => {
  await pair?.stop();
});

interface Made {
  readonly id: string;
  readonly sha256: string;
}

const create = (image: string) => pair.source.rbd(['create', image, '--size', '16M'], { user: 'agent' });
const chainOf = (id: string): string => id.slice(0, id.indexOf('@'));
const snapOf = (id: string): string => id.slice(id.indexOf('@') + 1);

/** Writes something new at a place of its own and over what was there, and backs it up. */
const backUp = async (image: string, round: number, ...args: string[]): Promise<Made> => {
  await applyWrites(pair.source, image, [
    { offset: round * 2 * MiB, data: randomBytes(`${image} ${round}`, MiB + round * 512) },
    { offset: 100_000, data: randomBytes(`${image} again ${round}`, 50_000) },
  ]);
  const id = await pair.ok('backup', image, ...args);
  return { id, sha256: await sha256OfExport(pair.source, `${image}@${snapOf(id)}`) };
};

const backUpTimes = async (image: string, count: number): Promise<Made[]> => {
  await create(image);
  const made: Made[] = [];
  for (let round = 0; round < count; round += 1) made.push(await backUp(image, round));
  expect(new Set(made.map(({ id }) => chainOf(id))).size).toBe(1);
  return made;
};

const listed = async (...args: string[]): Promise<string[]> => {
  const chains = JSON.parse(await pair.ok('list', ...args, '--json')) as { backups: { id: string }[] }[];
  return chains.flatMap(({ backups }) => backups.map(({ id }) => id));
};

/** Restores a backup under a name of its own, compares it, and removes it. */
const expectRestorable = async ({ id, sha256 }: Made): Promise<void> => {
  const to = 'rbd/check';
  await pair.ok('restore', id, '--to', to);
  expect(await sha256OfExport(pair.source, to)).toBe(sha256);
  await pair.source.rbd(['snap', 'purge', to]);
  await pair.source.rbd(['rm', to]);
};

/** Bytes of data that Ceph itself counts between a backup and the one before it. */
const addedBytes = async (id: string, before: string | undefined): Promise<number> => {
  const range = before === undefined ? [] : ['--from-snap', snapOf(before)];
  const { stdout } = await pair.backup.rbd(['diff', '--format', 'json', ...range, id]);
  return (JSON.parse(stdout) as { length: number; exists: string }[])
    .filter(({ exists }) => exists === 'true')
    .reduce((sum, { length }) => sum + length, 0);
};

/** What each of these backups of one chain added, oldest first. */
const addedByEach = async (ids: readonly string[]): Promise<number[]> => {
  const added: number[] = [];
  for (const [index, id] of ids.entries()) added.push(await addedBytes(id, ids[index - 1]));
  return added;
};

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);

describe('the middle one of three backups is deleted', () => {
  const image = 'rbd/middle';
  let made: Made[] = [];
  let left: Made[] = [];

  it('is gone, and the others stay what they were', async () => {
    made = await backUpTimes(image, 3);
    const { id } = made[1] ?? { id: '' };
    const { exitCode, stdout, stderr } = await pair.cli('delete', id);
    expect({ exitCode, stdout }).toEqual({ exitCode: 0, stdout: id });
    expect(stderr).toBe('');
    left = made.filter((each) => each.id !== id);
    expect(await listed(image)).toEqual(left.map((each) => each.id));
    expect(await snapNames(pair.backup, chainOf(id))).toEqual(left.map((each) => snapOf(each.id)));
    for (const each of left) expect(await sha256OfExport(pair.backup, each.id)).toBe(each.sha256);
  });

  it('what they take up is measured anew where it changed', async () => {
    const ids = left.map(({ id }) => id);
    const usage = JSON.parse(await pair.ok('du', image, '--json')) as {
      usedBytes: number;
      chains: { backups: { id: string; addedBytes: number }[] }[];
    };
    const added = await addedByEach(ids);
    expect(usage.chains[0]?.backups.map((backup) => backup.addedBytes)).toEqual(added);
    expect(usage.usedBytes).toBe(sum(added));
  });

  it('the next is an increment on the newest', async () => {
    const newest = made[2]?.id ?? '';
    expect(await snapNames(pair.source, image)).toEqual([snapOf(newest)]);
    const next = await backUp(image, 6);
    expect(chainOf(next.id)).toBe(chainOf(newest));
    expect(await listed(image)).toEqual([...left.map(({ id }) => id), next.id]);
    expect(await sha256OfExport(pair.backup, next.id)).toBe(next.sha256);
    for (const each of [...left, next]) await expectRestorable(each);
  });
});

it('du and report agree with `rbd diff` to the byte', async () => {
  const image = 'compute/billed';
  const made = await backUpTimes(image, 3);
  const ids = made.map(({ id }) => id);
  const check = async (left: readonly string[]) => {
    const added = await addedByEach(left);
    const [line] = (JSON.parse(await pair.ok('report', '--json')) as Record<string, unknown>[]).filter(
      (each) => each['image'] === 'billed',
    );
    expect(line).toMatchObject({
      store: 'rbd2',
      client: 'agent1',
      pool: 'compute',
      namespace: '',
      image: 'billed',
      fsid: pair.source.fsid,
      fullBackups: left.includes(ids[0] ?? '') ? 1 : 0,
      incrementalBackups: left.filter((id) => id !== ids[0]).length,
      addedBytes: sum(added),
      sizeBytes: 16 * MiB,
    });
    expect(JSON.parse(await pair.ok('du', image, '--json'))).toMatchObject({
      usedBytes: sum(added),
      backups: left.length,
      chains: [{ backups: added.map((addedBytes) => ({ addedBytes })) }],
    });
  };
  await check(ids);
  await pair.ok('delete', ids[0] ?? '');
  await check(ids.slice(1));
});

it('a held backup stays, whoever wants it gone, and a prune leaves what its rules keep', async () => {
  const image = 'rbd/held';
  const made = await backUpTimes(image, 4);
  const ids = made.map(({ id }) => id);
  const [first = '', second = ''] = ids;
  await pair.ok('hold', first, '--reason', 'audit');
  const { stdout: kept } = await pair.backup.rbd([
    'image-meta',
    'get',
    chainOf(first),
    `rbdferry.hold.${snapOf(first)}`,
  ]);
  expect(JSON.parse(kept)).toMatchObject({ v: 1, until: null, reason: 'audit', client: 'agent1' });
  expect(await pair.cli('delete', first)).toMatchObject({ exitCode: 48, stdout: '' });
  const pruned = await pair.cli('prune', image, '--keep-last', '2');
  expect(pruned).toMatchObject({ exitCode: 0 });
  expect(pruned.stdout.split('\n')).toEqual([
    `${first}  kept: held ("audit")`,
    `${second}  goes: no rule keeps it`,
    `${ids[2]}  kept: one of the last 2`,
    `${ids[3]}  kept: newest, the next increment builds on it, one of the last 2`,
    `deleted ${second}`,
  ]);
  for (const each of made.filter(({ id }) => id !== second)) await expectRestorable(each);
  expect(await pair.cli('delete', '--chain', chainOf(first))).toMatchObject({ exitCode: 48 });
  expect(await listed(image)).toEqual([first]);
  await pair.ok('release', first);
  expect(await pair.ok('delete', first)).toBe(first);
  expect(await listed(image)).toEqual([]);
});

describe('a store with trash_expiry', () => {
  const trash = async (): Promise<{ id: string; name: string }[]> => {
    const { stdout } = await pair.backup.rbd(['trash', 'ls', '--format', 'json', 'rbd2']);
    return JSON.parse(stdout) as { id: string; name: string }[];
  };

  it('puts the image of a chain into the trash, from where it comes back whole', async () => {
    const made = await backUpTimes('rbd/trashed', 2);
    const chain = chainOf(made[0]?.id ?? '').slice('rbd2/'.length);
    expect(await trash()).toEqual([]);
    const { port } = pair.receiver;
    await pair.receiver.stop();
    const config = await readFile(pair.receiverConfig, 'utf8');
    await writeFile(
      pair.receiverConfig,
      config
        .replace(/^listen: .*$/m, `listen: 127.0.0.1:${port}`)
        .replace('rbd2: { pool: rbd2 }', 'rbd2: { pool: rbd2, trash_expiry: 1h }'),
    );
    pair.receiver = await startDaemon('rbdferry-receiver', pair.receiverConfig);

    const started = Date.now();
    const whole = await pair.cli('delete', '--chain', `rbd2/${chain}`);
    expect(whole.stdout.split('\n')).toEqual(made.map(({ id }) => id));
    const until = /^the image (\S+) is in the trash of the backup cluster until (\S+)$/m.exec(whole.stderr);
    expect(until?.[1]).toBe(`rbd2/${chain}`);
    const hours = (Date.parse(until?.[2] ?? '') - started) / 3_600_000;
    expect(hours).toBeGreaterThan(0.99);
    expect(hours).toBeLessThan(1.1);
    expect(await listed('rbd/trashed')).toEqual([]);
    const [thrown] = await trash();
    expect(thrown?.name).toBe(chain);
    await pair.backup.rbd(['trash', 'restore', '--pool', 'rbd2', '--image-id', thrown?.id ?? '']);
    expect(await listed('rbd/trashed')).toEqual(made.map(({ id }) => id));
    for (const each of made) await expectRestorable(each);
  });
});
