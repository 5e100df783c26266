import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { applyWrites, randomBytes, sha256OfExport } from '../ceph/cluster.js';
import { expectError } from '../harness/expect-error.js';
import { imageNames, snapNames } from '../harness/look.js';
import { startPair, type Pair } from '../harness/pair.js';

/** What others do with images and backups, between two backups or before a deletion, where Ceph has a word in it. All else: test/house. */
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

describe('an image', () => {
  it('that was migrated to another pool begins a new chain, and the copy of its old snapshot goes', async () => {
    await create('rbd/moved');
    await backUp('rbd/moved');
    await pair.source.rbd(['migration', 'prepare', 'rbd/moved', 'compute/moved']);
    await pair.source.rbd(['migration', 'execute', '--no-progress', 'compute/moved']);
    await pair.source.rbd(['migration', 'commit', '--no-progress', 'compute/moved']);
    const second = await backUp('compute/moved');
    const wanted = await sha256OfExport(pair.source, `compute/moved@${snapOf(second)}`);
    expect(await sha256OfExport(pair.backup, second)).toBe(wanted);
    expect(await snapNames(pair.source, 'compute/moved')).toEqual([snapOf(second)]);
  });
});

describe('a backup that something keeps', () => {
  it('stays and is told, the others go, and it goes when that is gone: a clone, a protection', async () => {
    await create('rbd/kept');
    const [first, second, third] = [await backUp('rbd/kept'), await backUp('rbd/kept'), await backUp('rbd/kept')];
    await pair.source.rbd(['rename', 'rbd/kept', 'rbd/renamed']);
    await pair.backup.rbd(['snap', 'protect', third]);
    await pair.backup.rbd(['clone', '--rbd-default-clone-format', '2', second, 'rbd2/look']);
    expectError(await pair.cli('delete', second), 'BACKUP_IN_USE', 38, 'rbd2/look');
    const whole = await pair.cli('delete', '--chain', chainOf(first));
    expect(whole.stdout).toBe(first);
    expect(whole.stderr).toContain(`kept ${second} stays: it has a clone: rbd2/look`);
    expect(whole.exitCode).toBe(38);
    expect(await snapNames(pair.backup, chainOf(first))).toEqual([snapOf(second), snapOf(third)]);
    await pair.backup.rbd(['rm', '--no-progress', 'rbd2/look']);
    await pair.backup.rbd(['snap', 'unprotect', third]);
    expect((await pair.ok('delete', '--chain', chainOf(first))).split('\n')).toEqual([second, third]);
    expect(await imageNames(pair.backup, 'rbd2')).not.toContain(chainOf(first).slice('rbd2/'.length));
    expect(await snapNames(pair.source, 'rbd/renamed')).toEqual([]);
  });
});
