import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { applyWrites, randomBytes, sha256OfExport } from '../ceph/cluster.js';
import { imageNames, snapNames } from '../harness/look.js';
import { startPair, type Pair } from '../harness/pair.js';

/** A pool as an operator has it: sizes of all kinds, some changed, one that fails, one that vanishes, one that is new. RBDFERRY_POOL_IMAGES makes it larger. */
const count = Math.max(5, Number(process.env['RBDFERRY_POOL_IMAGES'] ?? 5));
const changed = Math.ceil(count / 5);
const nameOf = (index: number): string => `vm${String(index).padStart(3, '0')}`;
const names = Array.from({ length: count }, (_, index) => nameOf(index));
const MiB = 1024 * 1024;

let pair: Pair;

beforeAll(async () => {
  pair = await startPair({ name: 'pool', sourcePools: ['rbd'] });
  for (const [index, name] of names.entries()) await make(`rbd/${name}`, [4, 16, 64][index % 3] ?? 4);
});

afterAll(async () => {
  await pair?.stop();
});

const make = async (image: string, sizeMiB: number): Promise<void> => {
  await pair.source.rbd(['create', image, '--size', `${sizeMiB}M`]);
  await applyWrites(pair.source, image, [{ offset: 4096, data: randomBytes(image, sizeMiB * 10_000) }]);
};

interface Batch {
  readonly state: string;
  readonly warnings: readonly string[];
  readonly children: { readonly total: number; readonly committed: number; readonly snapshotSpreadMs: number };
  readonly jobs: readonly { image: string; state: string; backupId: string; error?: { code: string } }[];
}

const batchOf = (stdout: string): Batch => JSON.parse(stdout) as Batch;

/** Each backup holds what its snapshot on the source holds. */
const expectSame = async (ids: readonly string[]): Promise<void> => {
  for (const id of ids) {
    const [, image = '', snap = ''] = /\/(vm\d+|new)\..*@(.*)$/.exec(id) ?? [];
    const wanted = await sha256OfExport(pair.source, `rbd/${image}@${snap}`);
    expect({ id, sha256: await sha256OfExport(pair.backup, id) }).toEqual({ id, sha256: wanted });
  }
};

const committedIn = ({ jobs }: Batch): string[] =>
  jobs.filter(({ state }) => state === 'committed').map(({ backupId }) => backupId);

it('is backed up as a whole, full and then incremental, and each image comes back', async () => {
  const full = batchOf(await pair.ok('backup', '--pool', 'rbd', '--json'));
  expect(full).toMatchObject({ state: 'committed', children: { total: count, committed: count } });

  for (const name of names.slice(0, changed)) {
    await applyWrites(pair.source, `rbd/${name}`, [{ offset: 1 * MiB, data: randomBytes(`${name} again`, 300_000) }]);
  }
  const [failing = '', vanishing = ''] = names.slice(-2).map((name) => `rbd/${name}`);
  await pair.source.rbd(['snap', 'limit', 'set', failing, '--limit', '1']);
  for (const snap of await snapNames(pair.source, vanishing))
    await pair.source.rbd(['snap', 'rm', `${vanishing}@${snap}`]);
  await pair.source.rbd(['rm', '--no-progress', vanishing]);
  await make('rbd/new', 16);
  const { exitCode, stdout } = await pair.cli('backup', '--pool', 'rbd', '--json');
  expect(exitCode).toBe(73);
  const next = batchOf(stdout);
  expect(next).toMatchObject({ state: 'failed', children: { total: count, committed: count - 1, failed: 1 } });
  expect(next.jobs.filter(({ state }) => state === 'failed')).toMatchObject([
    { image: failing, error: { code: 'SNAPSHOT_LIMIT' } },
  ]);
  expect(next.warnings).toEqual([`${vanishing} is gone from its pool; its 1 backups are kept`]);
  await expectSame(committedIn(next));
  process.stderr.write(`${count} images: snapshots within ${next.children.snapshotSpreadMs} ms\n`);

  for (const id of committedIn(next).slice(0, 1)) {
    const [, snap = ''] = id.split('@');
    const image = /\/(vm\d+|new)\./.exec(id)?.[1] ?? '';
    await pair.ok('restore', id, '--to', 'rbd/back');
    expect(await sha256OfExport(pair.source, 'rbd/back')).toBe(
      await sha256OfExport(pair.source, `rbd/${image}@${snap}`),
    );
    for (const each of await snapNames(pair.source, 'rbd/back'))
      await pair.source.rbd(['snap', 'rm', `rbd/back@${each}`]);
    await pair.source.rbd(['rm', '--no-progress', 'rbd/back']);
  }
  await pair.source.rbd(['snap', 'limit', 'clear', failing]);
});

it('goes on with what is left when the agent is killed: nothing twice, nothing lost', async () => {
  const images = await imageNames(pair.source, 'rbd');
  const before = await backupsByImage();
  const id = (await pair.ok('backup', '--pool', 'rbd', '--async')).trim();
  const counts = async (): Promise<Batch['children']> => batchOf(await pair.ok('job', 'show', id, '--json')).children;
  await vi.waitUntil(async () => (await counts()).committed > 0, { timeout: 60_000, interval: 20 });
  await pair.agent.kill();
  await sleep(200);
  pair.agent = await pair.startAgent();
  const { exitCode, stdout } = await pair.cli('job', 'wait', id, '--json');
  expect(exitCode).toBe(0);
  const batch = batchOf(stdout);
  expect(batch.children).toMatchObject({ total: images.length, committed: images.length });
  await expectSame(committedIn(batch));
  const after = await backupsByImage();
  for (const image of images) {
    expect({ image, made: (after.get(image) ?? 0) - (before.get(image) ?? 0) }).toEqual({ image, made: 1 });
    const onlyTheBase = async () => (await snapNames(pair.source, `rbd/${image}`)).length === 1;
    await vi.waitUntil(onlyTheBase, { timeout: 60_000, interval: 500 });
  }
});

const backupsByImage = async (): Promise<Map<string, number>> => {
  const chains = JSON.parse(await pair.ok('list', '--json')) as { image: string; backups: unknown[] }[];
  const counted = new Map<string, number>();
  for (const { image, backups } of chains) {
    const name = image.slice('rbd/'.length);
    counted.set(name, (counted.get(name) ?? 0) + backups.length);
  }
  return counted;
};
