import { setTimeout as sleep } from 'node:timers/promises';
import { FerryError } from '@rbdferry/core/errors/ferry-error.js';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { randomBytes } from '../ceph/image-content.js';
import { expectError } from '../harness/expect-error.js';
import { startHouse, type House } from './house.js';
import { imageOf, snapOf } from './site.js';

/** Backups of whole pools and of many images at once. */
let house: House;

beforeAll(async () => {
  house = await startHouse({ sourcePools: ['rbd', 'ssd', 'empty'], agent: { pools: ['rbd', 'ssd'] } });
});

afterAll(() => house?.stop());

interface Child {
  readonly image: string;
  readonly state: string;
  readonly backupId: string | null;
  readonly backupKind: string | null;
  readonly parentId: string;
  readonly error?: { readonly code: string };
}

interface Batch {
  readonly id: string;
  readonly state: string;
  readonly warnings: readonly string[];
  readonly children: { readonly total: number; readonly committed: number; readonly snapshotSpreadMs: number | null };
  readonly jobs: readonly Child[];
  readonly error?: { readonly code: string; readonly message: string };
}

const backUp = async (...args: string[]): Promise<{ exitCode: number; batch: Batch; stderr: string }> => {
  const { exitCode, stdout, stderr } = await house.cli('backup', ...args, '--json');
  return { exitCode, batch: JSON.parse(stdout || 'null') as Batch, stderr };
};

/** Unlike a job alone it has made something. */
const expectEnd = (
  { exitCode, batch }: { exitCode: number; batch: Batch },
  code: string,
  exit: number,
  words: string,
): void => {
  expect({ exitCode, state: batch.state, error: batch.error }).toMatchObject({
    exitCode: exit,
    state: 'failed',
    error: { code, message: expect.stringContaining(words) },
  });
};

const imagesOf = ({ jobs }: Batch): string[] => jobs.map(({ image }) => image).toSorted();

const clear = async (pool: string): Promise<void> => {
  for (const name of await house.source.imageNames(pool)) await house.source.remove(`${pool}/${name}`);
};

const make = async (image: string): Promise<void> => {
  await house.source.create(image);
  house.source.write(image, 0, randomBytes(image, 50_000));
};

beforeEach(async () => {
  for (const pool of ['rbd', 'ssd']) await clear(pool);
});

describe('a backup of a pool', () => {
  it('is one of each of its images, full and then incremental, byte for byte', async () => {
    for (const name of ['a', 'b', 'c']) await make(`rbd/${name}`);
    await make('ssd/other');
    const full = await backUp('--pool', 'rbd');
    expect(full).toMatchObject({ exitCode: 0, batch: { state: 'committed', children: { total: 3, committed: 3 } } });
    expect(imagesOf(full.batch)).toEqual(['rbd/a', 'rbd/b', 'rbd/c']);
    expect(full.batch.children.snapshotSpreadMs).toBeGreaterThanOrEqual(0);
    house.source.write('rbd/b', 100_000, randomBytes('more', 20_000));
    await make('rbd/new');
    const next = await backUp('--pool', 'rbd');
    expect(next.exitCode).toBe(0);
    const kinds = next.batch.jobs.map(({ image, backupKind }) => `${image} ${backupKind}`);
    expect(kinds.toSorted()).toEqual(['rbd/a incremental', 'rbd/b incremental', 'rbd/c incremental', 'rbd/new full']);
    for (const { image, backupId } of next.batch.jobs) {
      expect(await house.source.snapNames(image)).toEqual([snapOf(backupId ?? '')]);
      expect(house.backup.sha256(backupId ?? '')).toBe(house.source.sha256(image));
    }
  });

  it('prints the id of each backup, and `jobs` shows the batch and its jobs', async () => {
    for (const name of ['a', 'b']) await make(`rbd/${name}`);
    const ids = (await house.ok('backup', '--pool', 'rbd')).trim().split('\n');
    expect(ids.map((id) => id.slice(0, 'rbd2/a.'.length))).toEqual(['rbd2/a.', 'rbd2/b.']);
    const [batch] = JSON.parse(await house.ok('jobs', '--limit', '1', '--json')) as { id: string; kind: string }[];
    expect(batch).toMatchObject({ kind: 'batch', image: null, children: { selection: 'pool rbd', total: 2 } });
    const children = JSON.parse(await house.ok('jobs', '--batch', batch?.id ?? '', '--json')) as Child[];
    expect(children.map(({ backupId }) => backupId ?? '').toSorted()).toEqual(ids.toSorted());
    expect(await house.ok('job', 'show', batch?.id ?? '')).toContain('2, 2 committed, 0 failed');
  });

  it('makes all snapshots before the first transfer', async () => {
    for (const name of ['a', 'b', 'c', 'd', 'e']) await make(`rbd/${name}`);
    const { batch } = await backUp('--pool', 'rbd');
    const times = batch.jobs.map(({ backupId }) => snapOf(backupId ?? ''));
    const jobs = batch.jobs as unknown as { startedAt: string }[];
    const firstStart = Math.min(...jobs.map(({ startedAt }) => Date.parse(startedAt)));
    for (const time of times) {
      const at = Date.parse(`${time.slice(0, 10)}T${time.slice(11, 23)}Z`);
      expect(at).toBeLessThanOrEqual(firstStart);
    }
  });

  it('goes on with the others when one fails, and its exit status tells some from none', async () => {
    for (const name of ['c', 'd']) await make(`rbd/${name}`);
    await backUp('--pool', 'rbd');
    await make('rbd/unknown');
    const some = await backUp('--pool', 'rbd', '--mode', 'incr');
    expectEnd(some, 'SOME_FAILED', 73, '1 of 3 backups failed: rbd/unknown (NO_CHAIN)');
    expect(some.batch.jobs.filter(({ state }) => state === 'committed')).toHaveLength(2);
    const none = await backUp('rbd/unknown', 'rbd/gone', '--mode', 'incr');
    expectEnd(none, 'ALL_FAILED', 74, '2 of 2 backups failed');
    expect(none.batch.jobs.map(({ error }) => error?.code ?? '').toSorted()).toEqual(['IMAGE_NOT_FOUND', 'NO_CHAIN']);
    expectError(
      await house.cli('backup', '--pool', 'rbd', '--match', 'un*', '--mode', 'incr'),
      'ALL_FAILED',
      74,
      '1 of 1 backups failed',
    );
    // Nothing is left of those that failed.
    expect(await house.source.snapNames('rbd/unknown')).toEqual([]);
  });

  it('tells which images are gone, and keeps their backups', async () => {
    for (const name of ['a', 'left']) await make(`rbd/${name}`);
    await backUp('--pool', 'rbd');
    await house.source.remove('rbd/left');
    const { exitCode, batch } = await backUp('--pool', 'rbd');
    expect(exitCode).toBe(0);
    expect(batch.warnings).toContainEqual(
      expect.stringMatching(/^rbd\/left is gone from its pool; its \d+ backups are kept$/),
    );
    expect(imagesOf(batch)).toEqual(['rbd/a']);
  });
});

describe('a selection', () => {
  beforeEach(async () => {
    for (const name of ['vm1', 'vm2', 'vm2-scratch', 'db']) await make(`rbd/${name}`);
    await make('ssd/vm3');
  });

  it.each([
    [['--all'], ['rbd/db', 'rbd/vm1', 'rbd/vm2', 'rbd/vm2-scratch', 'ssd/vm3']],
    [
      ['--all', '--pool', 'rbd', 'rbd/vm1'],
      ['rbd/db', 'rbd/vm1', 'rbd/vm2', 'rbd/vm2-scratch', 'ssd/vm3'],
    ],
    [
      ['--all', '--match', 'vm*'],
      ['rbd/vm1', 'rbd/vm2', 'rbd/vm2-scratch', 'ssd/vm3'],
    ],
    [
      ['--all', '--match', 'rbd/vm?'],
      ['rbd/vm1', 'rbd/vm2'],
    ],
    [
      ['--all', '--match', 'vm[13]', '--match', 'db'],
      ['rbd/db', 'rbd/vm1', 'ssd/vm3'],
    ],
    [
      ['--pool', 'rbd', '--exclude', '*-scratch', '--exclude', 'db'],
      ['rbd/vm1', 'rbd/vm2'],
    ],
    [
      ['--pool', 'ssd', 'rbd/db'],
      ['rbd/db', 'ssd/vm3'],
    ],
    [
      ['rbd/vm1', 'rbd/vm2', 'rbd/vm1'],
      ['rbd/vm1', 'rbd/vm2'],
    ],
  ])('%j is %j', async (args, images) => {
    const { exitCode, batch } = await backUp(...args);
    expect({ exitCode, images: imagesOf(batch) }).toEqual({ exitCode: 0, images });
  });

  it('asks the image itself, whose word goes before globs, but not before its name', async () => {
    await house.source.ceph.setMetadata(imageOf('rbd/vm1'), 'rbdferry.select', 'off');
    await house.source.ceph.setMetadata(imageOf('rbd/db'), 'rbdferry.select', 'on');
    await house.source.ceph.setMetadata(imageOf('rbd/vm2'), 'rbdferry.select', 'perhaps');
    const { batch } = await backUp('--pool', 'rbd', '--match', 'vm*');
    expect(imagesOf(batch)).toEqual(['rbd/db', 'rbd/vm2', 'rbd/vm2-scratch']);
    expect(batch.warnings).toEqual([
      'the image-meta rbdferry.select of rbd/vm2 is "perhaps", not on or off: it counts for nothing',
    ]);
    const named = await backUp('--pool', 'rbd', '--exclude', '*', 'rbd/vm1');
    expect(imagesOf(named.batch)).toEqual(['rbd/db', 'rbd/vm1']);
    // The word is its user's, and comes back with a restore.
    const off = named.batch.jobs.find(({ image }) => image === 'rbd/vm1')?.backupId ?? '';
    await house.ok('restore', off, '--to', 'ssd/again');
    expect((await house.source.ceph.metadata(imageOf('ssd/again'))).get('rbdferry.select')).toBe('off');
  });

  it('that holds nothing is refused before anything is made', async () => {
    const fails = async (code: string, exit: number, words: string, ...args: string[]) => {
      expectError(await house.cli('backup', ...args), code, exit, words);
    };
    await fails('NOTHING_SELECTED', 17, 'none of 4 images is selected by nope*', '--pool', 'rbd', '--match', 'nope*');
    await fails('NOTHING_SELECTED', 17, 'there is no image in what was selected', '--pool', 'empty');
    await fails('POOL_NOT_FOUND', 21, 'nowhere', '--pool', 'nowhere');
    await fails('INVALID_REQUEST', 12, 'is no glob', '--pool', 'rbd', '--match', '');
  });

  it('tells a glob that matches nothing beside others that do', async () => {
    const { batch } = await backUp('--pool', 'rbd', '--match', 'vm1', '--match', 'nope*');
    expect(batch.warnings).toEqual(['the glob "nope*" matches no image']);
  });
});

describe('a batch in the middle of its transfers', () => {
  const images = ['rbd/a', 'rbd/b', 'rbd/c', 'rbd/d'];
  let hang: { release(): void };

  /** Two of its jobs hang in their transfers, the others wait for them. */
  const startStuck = async (): Promise<string> => {
    for (const image of images) await make(image);
    const stuck = house.source.cluster.trouble.hang((call) => call.startsWith('exportDiff'));
    hang = stuck;
    const id = (await house.ok('backup', '--pool', 'rbd', '--async')).trim();
    await vi.waitUntil(() => stuck.waiting >= 2, { timeout: 10_000 });
    return id;
  };

  const snapshotsLeft = async (): Promise<string[]> =>
    (await Promise.all(images.map((image) => house.source.snapNames(image)))).flat();

  it('takes its jobs along when it is cancelled, and leaves nothing', async () => {
    const id = await startStuck();
    await house.cli('cancel', id);
    hang.release();
    const { exitCode } = await house.cli('job', 'wait', id);
    expect(exitCode).toBe(130);
    const jobs = JSON.parse(await house.ok('jobs', '--batch', id, '--json')) as Child[];
    expect(jobs.map(({ state }) => state)).toEqual(images.map(() => 'cancelled'));
    await vi.waitFor(async () => expect(await snapshotsLeft()).toEqual([]), { timeout: 10_000, interval: 100 });
  });

  it('goes on when the agent was stopped and is started again: nothing twice, nothing lost', async () => {
    const id = await startStuck();
    await house.agent.stop();
    // Whoever stops the agent finds no snapshot of it on production.
    expect(await snapshotsLeft()).toEqual([]);
    hang.release();
    await house.agent.start();
    const { exitCode, stdout } = await house.cli('job', 'wait', id);
    expect(exitCode).toBe(0);
    const ids = stdout.trim().split('\n');
    expect(ids).toHaveLength(images.length);
    for (const made of ids) {
      const image = images.find((each) => made.includes(`/${each.slice('rbd/'.length)}.`)) ?? '';
      expect(await house.source.snapNames(image)).toEqual([snapOf(made)]);
      expect(house.backup.sha256(made)).toBe(house.source.sha256(image));
    }
  });
});

describe('a batch whose agent is stopped while it makes its snapshots', () => {
  it('leaves none of them on production, and goes on later', async () => {
    const images = ['rbd/a', 'rbd/b', 'rbd/c'];
    for (const image of images) await make(image);
    let asked = 0;
    const stuck = house.source.cluster.trouble.hang((call) => call === 'createSnapshot' && (asked += 1) > 2);
    const starting = house.cli('backup', '--pool', 'rbd');
    await vi.waitUntil(() => stuck.waiting === 1, { timeout: 10_000 });
    expect((await Promise.all(images.map((image) => house.source.snapNames(image)))).flat()).toHaveLength(2);
    await house.agent.stop();
    expect((await Promise.all(images.map((image) => house.source.snapNames(image)))).flat()).toEqual([]);
    stuck.release();
    await starting;
    await house.agent.start();
    const [batch] = JSON.parse(await house.ok('jobs', '--limit', '1', '--json')) as { id: string }[];
    expect((await house.ok('job', 'wait', batch?.id ?? '')).trim().split('\n')).toHaveLength(3);
  });
});

describe('a store with a chain that cannot be read', () => {
  it('fails the backup of its image, and no other', async () => {
    for (const image of ['rbd/fine', 'rbd/locked']) await make(image);
    const { batch } = await backUp('--pool', 'rbd');
    const chain = batch.jobs
      .find(({ image }) => image === 'rbd/locked')
      ?.backupId?.slice('rbd2/'.length)
      .split('@')[0];
    const whole = house.receiver.between;
    house.receiver.between = (ceph) =>
      new Proxy(ceph, {
        get: (target, name, self) => {
          const step: unknown = Reflect.get(target, name, self);
          if (typeof step !== 'function') return step;
          return (...args: unknown[]): unknown => {
            if ((args[0] as { image?: string } | undefined)?.image === chain) {
              throw new FerryError('CEPH_PERMISSION', 'its parent is elsewhere');
            }
            return Reflect.apply(step, target, args);
          };
        },
      });
    await house.receiver.restart();
    try {
      const next = await backUp('--pool', 'rbd');
      expect(next.exitCode).toBe(73);
      expect(next.batch.jobs.map(({ image, state }) => `${image} ${state}`).toSorted()).toEqual([
        'rbd/fine committed',
        'rbd/locked failed',
      ]);
      expect(next.batch.warnings).toContainEqual(expect.stringContaining('cannot be read'));
      const restore = ['restore', '--pool', 'rbd', '--to', 'ssd'];
      expectError(await house.cli(...restore), 'CEPH_PERMISSION', 62, 'cannot be read');
      expect(await house.ok(...restore, '--match', 'fine', '--exclude', 'locked')).toBe('ssd/fine');
    } finally {
      house.receiver.between = whole;
      await house.receiver.restart();
    }
  });
});

describe('a restore of a pool', () => {
  const images = ['a', 'b', 'c'];

  const restored = async (...args: string[]): Promise<{ exitCode: number; batch: Batch; stderr: string }> => {
    const { exitCode, stdout, stderr } = await house.cli('restore', ...args, '--json');
    return { exitCode, batch: JSON.parse(stdout || 'null') as Batch, stderr };
  };

  it('brings each image back into another pool, from its newest backup or as of a time', async () => {
    const pool = `set${Date.now()}`;
    house.source.cluster.addPool(pool);
    const at = (image: string) => `${pool}/${image}`;
    for (const image of images) await make(at(image));
    const before = new Map(images.map((image) => [image, house.source.sha256(at(image))]));
    await backUp('--pool', pool);
    const between = new Date(Date.now() + 1).toISOString();
    await sleep(20);
    for (const image of images) house.source.write(at(image), 200_000, randomBytes(`${image} later`, 10_000));
    await make(at('late'));
    await backUp('--pool', pool);

    const newest = await restored('--pool', pool, '--to', 'ssd');
    expect(newest).toMatchObject({ exitCode: 0, batch: { children: { total: 4, committed: 4 } } });
    for (const image of [...images, 'late']) {
      expect(house.source.sha256(`ssd/${image}`)).toBe(house.source.sha256(at(image)));
    }
    // What is there is not touched, and nothing is begun.
    expectError(
      await house.cli('restore', '--pool', pool, '--to', 'ssd'),
      'IMAGE_EXISTS',
      34,
      '4 of 4 images are there',
    );
    await clear('ssd');
    const earlier = await restored('--pool', pool, '--to', 'ssd', '--at', between, '--exclude', 'b');
    expect(earlier.exitCode).toBe(0);
    expect(imagesOf(earlier.batch)).toEqual(['ssd/a', 'ssd/c']);
    expect(earlier.batch.warnings).toEqual([
      expect.stringContaining(`${at('late')} is left out: its oldest backup is later`),
    ]);
    for (const image of ['a', 'c']) expect(house.source.sha256(`ssd/${image}`)).toBe(before.get(image));
  });

  it('is refused when there is nothing to bring back, and when the command says two things', async () => {
    expectError(await house.cli('restore', '--pool', 'empty'), 'NOTHING_SELECTED', 17, 'has nothing of empty');
    expectError(await house.cli('restore', 'rbd/a', '--pool', 'rbd'), 'USAGE', 2, 'not both');
    expectError(await house.cli('restore'), 'USAGE', 2, 'say what to restore');
    expectError(await house.cli('restore', 'rbd/a', '--latest', '--match', 'x'), 'USAGE', 2, 'give --pool as well');
  });
});
