import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { applyWrites, randomBytes, sha256OfExport } from '../ceph/cluster.js';
import { expectError } from '../harness/expect-error.js';
import { imageNames, snapNames } from '../harness/look.js';
import { startPair, type Pair } from '../harness/pair.js';

/** What others do with images and backups, between two backups or before a deletion. */
let pair: Pair;

beforeAll(async () => {
  pair = await startPair({ name: 'changes', sourcePools: ['rbd', 'compute'] });
});

afterAll(async () => {
  await pair?.stop();
});

const snapOf = (id: string): string => id.slice(id.indexOf('@') + 1);
const chainOf = (id: string): string => id.slice(0, id.indexOf('@'));

let writes = 0;
const backUp = async (image: string): Promise<string> => {
  writes += 1;
  await applyWrites(pair.source, image, [{ offset: writes * 4096, data: randomBytes(`${writes}`, 200_000) }]);
  return pair.ok('backup', image);
};

const create = (image: string) => pair.source.rbd(['create', image, '--size', '16M'], { user: 'agent' });

const listed = async (...args: string[]): Promise<string[]> => {
  const chains = JSON.parse(await pair.ok('list', ...args, '--json')) as { backups: { id: string }[] }[];
  return chains.flatMap(({ backups }) => backups.map(({ id }) => id));
};

const expectSame = async (image: string, id: string): Promise<void> => {
  const wanted = await sha256OfExport(pair.source, `${image}@${snapOf(id)}`);
  expect(await sha256OfExport(pair.backup, id)).toBe(wanted);
};

describe('an image', () => {
  it('that was renamed goes on in its chain, and its old snapshot goes', async () => {
    await create('rbd/old');
    const first = await backUp('rbd/old');
    await pair.source.rbd(['rename', 'rbd/old', 'rbd/young']);
    const second = await backUp('rbd/young');
    expect(chainOf(second)).toBe(chainOf(first));
    await expectSame('rbd/young', second);
    expect(await snapNames(pair.source, 'rbd/young')).toEqual([snapOf(second)]);
    expect(await listed('rbd/young')).toContain(second);
    const third = await backUp('rbd/young');
    expect(chainOf(third)).toBe(chainOf(first));
  });

  it('that was migrated to another pool begins a new chain, and the copy of its old snapshot goes', async () => {
    await create('rbd/moved');
    await backUp('rbd/moved');
    await pair.source.rbd(['migration', 'prepare', 'rbd/moved', 'compute/moved']);
    await pair.source.rbd(['migration', 'execute', '--no-progress', 'compute/moved']);
    await pair.source.rbd(['migration', 'commit', '--no-progress', 'compute/moved']);
    const second = await backUp('compute/moved');
    await expectSame('compute/moved', second);
    expect(await snapNames(pair.source, 'compute/moved')).toEqual([snapOf(second)]);
  });

  it('that was renamed before its backups are deleted loses its snapshot all the same', async () => {
    await create('rbd/before');
    const id = await backUp('rbd/before');
    await pair.source.rbd(['rename', 'rbd/before', 'rbd/after']);
    await pair.ok('delete', '--chain', chainOf(id));
    expect(await snapNames(pair.source, 'rbd/after')).toEqual([]);
  });
});

describe('a backup that something keeps', () => {
  it('stays and is told, the others go, and it goes when that is gone: a clone, a protection', async () => {
    await create('rbd/kept');
    const ids = [
      await backUp('rbd/kept'),
      await backUp('rbd/kept'),
      await backUp('rbd/kept'),
      await backUp('rbd/kept'),
    ];
    const [first = '', second = '', third = '', fourth = ''] = ids;
    await pair.backup.rbd(['snap', 'protect', third]);
    await pair.backup.rbd(['clone', '--rbd-default-clone-format', '2', second, 'rbd2/look']);
    expectError(await pair.cli('delete', second), 'BACKUP_IN_USE', 38, 'rbd2/look');
    const dry = await pair.cli('delete', '--chain', chainOf(first), '--dry-run');
    const whole = await pair.cli('delete', '--chain', chainOf(first));
    expect(dry.stdout).toBe(whole.stdout);
    expect(whole.stdout.split('\n')).toEqual([first, fourth]);
    expect(whole.stderr).toContain(`kept ${second} stays: it has a clone: rbd2/look`);
    expect(whole.exitCode).toBe(38);
    expect(await listed('rbd/kept')).toEqual([second, third]);
    await pair.backup.rbd(['rm', '--no-progress', 'rbd2/look']);
    await pair.backup.rbd(['snap', 'unprotect', third]);
    expect((await pair.ok('delete', '--chain', chainOf(first))).split('\n')).toEqual([second, third]);
    expect(await imageNames(pair.backup, 'rbd2')).not.toContain(chainOf(first).slice('rbd2/'.length));
    expect(await snapNames(pair.source, 'rbd/kept')).toEqual([]);
  });

  it('is the newest one when its image has a snapshot of somebody else’s, and a removal that was broken off does not keep it', async () => {
    await create('rbd/foreign');
    const [first, second] = [await backUp('rbd/foreign'), await backUp('rbd/foreign')];
    const image = chainOf(first);
    await pair.backup.rbd(['snap', 'create', '--no-progress', `${image}@mine`]);
    const kept = await pair.cli('delete', '--chain', image);
    expect(kept.stdout).toBe(first);
    expect(kept.stderr).toContain('"mine"');
    expect(await listed('rbd/foreign')).toEqual([second]);
    expectError(await pair.cli('delete', second), 'BACKUP_IN_USE', 38, 'mine');
    await pair.backup.rbd(['snap', 'rm', '--no-progress', `${image}@mine`]);
    expect(await pair.ok('delete', second)).toBe(second);
    expect(await imageNames(pair.backup, 'rbd2')).not.toContain(image.slice('rbd2/'.length));
  });
});
