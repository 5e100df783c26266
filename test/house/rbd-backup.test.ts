import { rm } from 'node:fs/promises';
import { setTimeout } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { randomBytes } from '../ceph/image-content.js';
import type { CliResult } from '../harness/daemon.js';
import { startHouse, type House } from './house.js';
import { chainOf, snapOf } from './site.js';

/** `rbd_backup` in the place of the older tool. A whole session on real Ceph: test/e2e/rbd-backup.test.ts. */

const time = String.raw`\d{4}-\d\d-\d\d\.\d\d:\d\d:\d\d\.\d{6}`;
let house: House;

beforeAll(async () => {
  house = await startHouse({ sourcePools: ['rbd', 'compute'], stores: ['rbd2', 'rbd'] });
});

afterAll(() => house?.stop());

/** Hosts in the lines of its README are no receivers of ours, so the environment names one. */
beforeEach(() => {
  vi.stubEnv('RBDFERRY_RECEIVER', 'dr');
  return () => {
    vi.unstubAllEnvs();
  };
});

const old = (line: string): Promise<CliResult> => house.oldTool(...line.split(' '));

/** What a line that must succeed wrote on stdout. */
const good = async (line: string): Promise<string> => {
  const { exitCode, stdout, stderr } = await old(line);
  if (exitCode !== 0) throw new Error(`rbd_backup ${line} exited with ${exitCode}: ${stderr}`);
  return stdout;
};

const idOf = (store: string, image: string): RegExp =>
  new RegExp(`^${store}/${image}\\.${time}\\.bkp\\.image@${time}\\.snap$`);

describe('asynchronous mode', () => {
  const name = 'e1287976-e9bf-4417-af76-b85fe8ae4a1c_disk';
  const image = `compute/${name}`;
  const common = `-p compute -i ${name}`;
  let id = '';
  let hash = '';

  /** Transfers from the source stop in their middle, until they are let go or cancelled. */
  const holdTransfers = () => house.source.cluster.trouble.hang((call) => call === 'exportDiff.chunk');

  /** Asks until the answer is 100 or -1. */
  const poll = async (query: string): Promise<string[]> => {
    const answers: string[] = [];
    for (let tries = 0; tries < 300; tries += 1) {
      answers.push(await good(query));
      if (['100', '-1'].includes(answers.at(-1) ?? '')) return answers;
      await setTimeout(50);
    }
    throw new Error(`still ${answers.at(-1)}`);
  };

  it('backup -a prints the id at once; query_backup goes up to 100', async () => {
    await house.source.create(image);
    house.source.write(image, 0, randomBytes('disk', 900_000));
    const hold = holdTransfers();
    id = await good(`${common} -o backup -m full -r rbd -u root -d node-6 -a`);
    expect(id).toMatch(idOf('rbd', name));
    await expect.poll(() => hold.waiting).toBe(1);
    const query = `${common} -o query_backup -r rbd -u root -d node-6 -s ${id}`;
    const first = await good(query);
    expect(first).not.toBe('100');
    hold.release();
    const answers = [first, ...(await poll(query))];
    expect(answers.every((answer) => /^\d{1,3}$/.test(answer))).toBe(true);
    expect(answers.map(Number)).toEqual(answers.map(Number).toSorted((a, b) => a - b));
    expect(answers.at(-1)).toBe('100');
    hash = house.source.sha256(`${image}@${snapOf(id)}`);
    expect(house.backup.sha256(id)).toBe(hash);
  });

  it('restore -a prints nothing; query_restore goes up to 100', async () => {
    await house.source.remove(image);
    expect(await good(`${common} -o restore -r rbd -u root -d node-6 -s ${id} -a`)).toBe('');
    const answers = await poll(`${common} -o query_restore -u root -d node-6 -s ${id}`);
    expect(answers.at(-1)).toBe('100');
    expect(house.source.sha256(image)).toBe(hash);
  });

  it('cancel ends a backup and leaves nothing; query_backup says -1', async () => {
    const before = await house.backup.imageNames('rbd');
    const snaps = await house.source.snapNames(image);
    const hold = holdTransfers();
    const begun = await good(`${common} -o backup -m full -r rbd -u root -d node-6 -a`);
    await expect.poll(() => hold.waiting).toBe(1);
    expect(await old(`${common} -o cancel -u root -d node-6 -s ${begun}`)).toMatchObject({
      exitCode: 0,
      stdout: '',
      stderr: expect.stringMatching(/job \w+ is cancelled$/) as string,
    });
    expect(await old(`${common} -o query_backup -u root -d node-6 -s ${begun}`)).toMatchObject({
      exitCode: 0,
      stdout: '-1',
      stderr: expect.stringContaining('was cancelled') as string,
    });
    hold.release();
    expect(await house.backup.imageNames('rbd')).toEqual(before);
    expect(await house.source.snapNames(image)).toEqual(snaps);
  });

  it('a query of what nobody knows says -1, and of a backup whose job is forgotten 100', async () => {
    const unknown = id.replace(/\d\.snap$/, 'X.snap').replace('X', id.endsWith('1.snap') ? '2' : '1');
    expect(await good(`${common} -o query_backup -s ${unknown}`)).toBe('-1');
    await house.agent.stop();
    await rm(`${house.dir}/state`, { recursive: true });
    await house.agent.start();
    expect(await good(`${common} -o query_backup -s ${id}`)).toBe('100');
    expect(await good(`${common} -o query_restore -s ${id}`)).toBe('-1');
  });
});

describe('chains to keep, and snapshots on the source', () => {
  const image = 'rbd/kept';
  const common = '-p rbd -i kept -r rbd2 -d dr';
  const chains = async () =>
    (await house.backup.imageNames('rbd2')).filter((name) => name.startsWith('kept.')).toSorted();

  it('-n with a full keeps the newest; -o delete -n fewer', async () => {
    await house.source.create(image);
    const ids: string[] = [];
    for (let count = 0; count < 4; count += 1) {
      ids.push(await good(`${common} -o backup -m full -n 3`));
      await good(`${common} -o backup -m incr`);
    }
    const names = ids.map((id) => chainOf(id).slice('rbd2/'.length));
    expect(await chains()).toEqual(names.slice(1));
    const { stdout, stderr } = await old(`${common} -o delete -n 1`);
    expect(stdout).toBe('');
    expect(stderr).toContain(`deleted ${ids[1]}`);
    expect(await chains()).toEqual(names.slice(3));
    await good(`${common} -o delete -n 0`);
    expect(await chains()).toEqual(names.slice(3));
  });

  it('delete_local_snaps: prints nothing, and an increment is refused', async () => {
    house.source.addSnapshot(`${image}@mine`);
    expect(await house.source.snapNames(image)).toHaveLength(2);
    const { stdout, stderr } = await old(`${common} -o delete_local_snaps`);
    expect(stdout).toBe('');
    expect(stderr).toContain('the next backup of rbd/kept must be a full one');
    expect(await house.source.snapNames(image)).toEqual(['mine']);
    const refused = await old(`${common} -o backup -m incr`);
    expect(refused).toMatchObject({ exitCode: 31, stdout: '' });
    expect(refused.stderr).toContain('NO_COMMON_SNAPSHOT');
    expect(refused.stderr).toContain('-m full');
  });
});

describe('-d', () => {
  const du = '-p rbd -i kept -r rbd2 -o du';
  beforeEach(() => {
    vi.stubEnv('RBDFERRY_RECEIVER', undefined);
  });

  it.each([['dr'], ['localhost'], ['LOCALHOST.example.com']])('%s is the receiver', async (destination) => {
    expect(await old(`${du} -d ${destination}`)).toMatchObject({ exitCode: 0, stderr: '' });
  });

  it('that names nothing is refused with what there is', async () => {
    const { exitCode, stdout, stderr } = await old(`${du} -d node-7`);
    expect({ exitCode, stdout }).toEqual({ exitCode: 23, stdout: '' });
    expect(stderr).toContain('RECEIVER_NOT_FOUND: the agent has no receiver "node-7"');
    expect(stderr).toMatch(/hint: .*RBDFERRY_RECEIVER.*: dr \(localhost:\d+\)$/);
  });
});

describe('where ours is safer', () => {
  it('a restore never overwrites an image', async () => {
    const [chain] = JSON.parse(await house.ok('list', 'rbd/kept', '--json')) as { backups: { id: string }[] }[];
    const { exitCode, stdout, stderr } = await old(
      `-p rbd -i kept -r rbd2 -d dr -o restore -s ${chain?.backups[0]?.id}`,
    );
    expect({ exitCode, stdout }).toEqual({ exitCode: 34, stdout: '' });
    expect(stderr).toContain('IMAGE_EXISTS');
    expect(stderr).toContain('rbdferry restore ID --to POOL/IMAGE --replace');
  });

  it.each([
    ['-p rbd -i never -r rbd2 -o backup -m incr', 20, 'IMAGE_NOT_FOUND'],
    ['-p rbd -i tmpimage -r rbd2 -o backup', 2, '-m full or -m incr'],
    ['-p rbd -i tmpimage -r rbd2 -o backup -m delta', 2, 'delta'],
    ['-p rbd -i tmpimage -o backup -m full', 2, '-r, the backup pool'],
    ['-p rbd -i tmpimage -r nowhere -o backup -m full', 22, 'STORE_NOT_FOUND'],
    ['-p rbd -i tmpimage -r rbd2 -o delete', 2, '-n N'],
    ['-p rbd -i never -r rbd2 -o du', 20, 'there is no backup of "rbd/never"'],
    ['-p rbd -i never -r rbd2 -o dump', 20, 'IMAGE_NOT_FOUND'],
    ['-p rbd -i x -o du -r rbd2 -a', 2, '-a is for'],
    ['-p rbd -i x -o mirror', 2, 'backup, restore'],
  ])('%s', async (line, exitCode, words) => {
    if ((await house.source.imageNames('rbd')).every((each) => each !== 'tmpimage'))
      await house.source.create('rbd/tmpimage');
    const end = await old(line);
    expect(end).toMatchObject({ exitCode, stdout: '' });
    expect(end.stderr).toContain(words);
  });
});
