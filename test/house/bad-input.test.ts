import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { randomBytes } from '../ceph/image-content.js';
import { expectError } from '../harness/expect-error.js';
import { startHouse, type House } from './house.js';

/** Each mistake gives its code, a hint and its exit status, and leaves nothing on either cluster. */
let house: House;

beforeAll(async () => {
  house = await startHouse({ sourcePools: ['rbd', 'compute'], stores: ['rbd2', 'other'] });
  for (const image of ['rbd/vm1', 'rbd/never', 'compute/vm1']) await house.source.create(image);
  house.source.write('rbd/vm1', 0, randomBytes('bad', 100_000));
});

afterAll(() => house?.stop());

const expectNothingLeft = async (): Promise<void> => {
  for (const image of ['rbd/vm1', 'rbd/never', 'compute/vm1']) expect(await house.source.snapNames(image)).toEqual([]);
  expect(house.backup.cluster.everything()).toEqual([]);
  expect(await house.source.imageNames('rbd')).toEqual(['never', 'vm1']);
};

describe('what does not exist', () => {
  const id = 'rbd2/vm1.2015-07-07.10:40:39.458883.bkp.image@2015-07-07.10:40:43.707889.snap';
  it.each<[string, string[], string, number, string]>([
    ['image', ['backup', 'rbd/none'], 'IMAGE_NOT_FOUND', 20, 'rbd/none'],
    ['pool', ['backup', 'nopool/vm1'], 'POOL_NOT_FOUND', 21, 'nopool'],
    ['namespace', ['backup', 'rbd/nons/vm1'], 'NAMESPACE_NOT_FOUND', 26, 'nons'],
    ['store', ['backup', 'rbd/vm1', '--store', 'nostore'], 'STORE_NOT_FOUND', 22, 'nostore'],
    ['receiver', ['backup', 'rbd/vm1', '--receiver', 'nowhere'], 'RECEIVER_NOT_FOUND', 23, 'nowhere'],
    ['backup', ['restore', id, '--to', 'rbd/x'], 'BACKUP_NOT_FOUND', 24, id],
    ['job', ['job', 'show', 'nojob'], 'JOB_NOT_FOUND', 25, 'nojob'],
    ['chain', ['backup', 'rbd/never', '--mode', 'incr'], 'NO_CHAIN', 30, 'rbd/never'],
  ])('%s', async (_, args, code, exit, words) => {
    expectError(await house.cli(...args), code, exit, words);
    await expectNothingLeft();
  });
});

describe('names that are none', () => {
  it.each(['vm1', 'rbd/vm1@snap', 'rbd/a/b/c', 'rbd/vm\n1', 'rbd/\u001b[31mvm1', 'rbd/', ''])('%j', async (image) => {
    expectError(await house.cli('backup', '--', image), 'INVALID_IMAGE_SPEC', 10, '');
    expectError(await house.cli('list', '--', image), 'INVALID_IMAGE_SPEC', 10, '');
  });

  it.each(['nonsense', 'rbd2/vm1@x', 'rbd2/vm1.2015-07-07.10:40:39.458883.bkp.image'])('backup id %j', async (id) => {
    expectError(await house.cli('restore', id), 'INVALID_BACKUP_ID', 11, id);
  });

  it('the daemon checks them as well', async () => {
    expectError(
      await house.cli('restore', 'rbd2/a@b.2015-07-07.10:40:39.458883.bkp.image@2015-07-07.10:40:43.707889.snap'),
      'INVALID_BACKUP_ID',
      11,
      'a@b',
    );
  });
});

describe('two images of one name in two pools', () => {
  it('have chains of their own', async () => {
    const first = await house.ok('backup', 'rbd/vm1');
    const refused = await house.cli('backup', 'compute/vm1', '--mode', 'incr');
    expectError(refused, 'NO_CHAIN', 30, 'compute/vm1');
    const second = await house.ok('backup', 'compute/vm1');
    const chains = JSON.parse(await house.ok('list', 'compute/vm1', '--json')) as { backups: { id: string }[] }[];
    expect(chains.flatMap((chain) => chain.backups.map((backup) => backup.id))).toEqual([second]);
    expect(first).not.toBe(second);
    const about = {
      kind: 'backup',
      image: 'compute/vm1',
      receiver: 'dr',
      store: 'rbd2',
      durationMs: expect.any(Number) as number,
    };
    expect(
      house.agent.records.filter(
        ({ image, msg }) => image === 'compute/vm1' && /^job (failed|committed)/.test(String(msg)),
      ),
    ).toEqual([
      expect.objectContaining({
        ...about,
        msg: 'job failed',
        code: 'NO_CHAIN',
        doneBytes: 0,
        hint: expect.any(String) as string,
      }),
      expect.objectContaining({
        ...about,
        msg: 'job committed',
        backup: second,
        streamBytes: expect.any(Number) as number,
      }),
    ]);
  });
});
