import { readFile } from 'node:fs/promises';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { applyWrites, randomBytes, sha256OfExport, type Cluster } from '../ceph/cluster.js';
import type { CliResult } from '../harness/daemon.js';
import { imageNames, snapNames } from '../harness/look.js';
import { startPair, type Pair } from '../harness/pair.js';

/** The session in the README of the older tool, line by line, with our `rbd_backup`; and the backups which that tool made. */

const MiB = 1024 * 1024;
const bin = fileURLToPath(new URL('../../packages/cli/bin/rbd_backup', import.meta.url));
const time = String.raw`\d{4}-\d\d-\d\d\.\d\d:\d\d:\d\d\.\d{6}`;
const ignoredUser = '-u root is ignored: there is no ssh any more';

let pair: Pair;

beforeAll(async () => {
  pair = await startPair({ name: 'old', sourcePools: ['rbd', 'compute'], stores: ['rbd2', 'rbd'] });
});

afterAll(async () => {
  await pair?.stop();
});

/** Runs `rbd_backup` with the words of a line of the README: its host is no receiver of ours, so the environment names one. */
const old = async (line: string, env: Record<string, string> = { RBDFERRY_RECEIVER: 'dr' }): Promise<CliResult> => {
  const { exitCode, stdout, stderr } = await execa(process.execPath, [bin, ...line.split(' ')], {
    env: { RBDFERRY_SOCKET: pair.socket, ...env },
    reject: false,
    stdin: 'ignore',
    timeout: 120_000,
  });
  return { exitCode: exitCode ?? -1, stdout, stderr };
};

/** What a line that must succeed wrote on stdout. */
const good = async (line: string): Promise<string> => {
  const { exitCode, stdout, stderr } = await old(line);
  if (exitCode !== 0) throw new Error(`rbd_backup ${line} exited with ${exitCode}: ${stderr}`);
  return stdout;
};

const idOf = (store: string, image: string): RegExp =>
  new RegExp(`^${store}/${image}\\.${time}\\.bkp\\.image@${time}\\.snap$`);
const chainOf = (id: string): string => id.slice(0, id.indexOf('@'));
const snapOf = (id: string): string => id.slice(id.indexOf('@') + 1);
const write = (image: string, seed: string, offset: number, bytes: number) =>
  applyWrites(pair.source, image, [{ offset, data: randomBytes(seed, bytes) }]);

/** Bytes that Ceph itself counts between two snapshots. */
const diffBytes = async (cluster: Cluster, snap: string, from?: string): Promise<number> => {
  const range = from === undefined ? [] : ['--from-snap', from];
  const { stdout } = await cluster.rbd(['diff', '--format', 'json', ...range, snap]);
  return (JSON.parse(stdout) as { length: number; exists: string }[])
    .filter(({ exists }) => exists === 'true')
    .reduce((sum, { length }) => sum + length, 0);
};

const megabytes = (bytes: number): string => String(Math.floor(bytes / MiB));

describe('the session in the README of the older tool', () => {
  const image = 'rbd/tmpimage';
  const common = '-p rbd -i tmpimage -r rbd2 -u root -d node-7';
  const ids: string[] = [];
  let first: { hash: string; id: string };

  it('backup: full and incr print the id, and nothing else', async () => {
    await pair.source.rbd(['create', image, '--size', '1G'], { user: 'agent' });
    await write(image, 'one', 0, 7 * MiB);
    const full = await old(`${common} -o backup -m full`);
    expect(full).toEqual({ exitCode: 0, stdout: expect.stringMatching(idOf('rbd2', 'tmpimage')), stderr: ignoredUser });
    await write(image, 'two', 3 * MiB, 5 * MiB + 77_777);
    const incr = await good(`${common} -o backup -m incr`);
    expect(incr).toMatch(idOf('rbd2', 'tmpimage'));
    expect(chainOf(incr)).toBe(chainOf(full.stdout));
    first = { id: incr, hash: await sha256OfExport(pair.source, `${image}@${snapOf(incr)}`) };
    ids.push(full.stdout, incr);
  });

  it('restore: prints nothing, and the image is back', async () => {
    await pair.source.rbd(['snap', 'purge', image]);
    await pair.source.rbd(['rm', image]);
    expect(await old(`${common} -o restore -s ${first.id}`)).toEqual({ exitCode: 0, stdout: '', stderr: ignoredUser });
    const { stdout } = await pair.source.rbd(['info', image]);
    expect(stdout).toContain('size 1 GiB in 256 objects');
    expect(await sha256OfExport(pair.source, image)).toBe(first.hash);
  });

  it('delete: prints nothing, and the backup is gone', async () => {
    for (const seed of ['three', 'four', 'five']) {
      await write(image, seed, 11 * MiB, 2 * MiB);
      ids.push(await good(`${common} -o backup -m full`));
    }
    const last = await good(`${common} -o backup -m incr`);
    const { exitCode, stdout, stderr } = await old(`${common} -o delete -s ${last}`);
    expect({ exitCode, stdout }).toEqual({ exitCode: 0, stdout: '' });
    expect(stderr).toContain(`deleted ${last}\n`);
    expect(await snapNames(pair.backup, chainOf(last))).toEqual([snapOf(ids.at(-1) ?? '')]);
  });

  it('dump: the lines of the debug log, on stderr', async () => {
    const { exitCode, stdout, stderr } = await old(`${common} -o dump`);
    expect({ exitCode, stdout }).toEqual({ exitCode: 0, stdout: '' });
    const [user, begin, ...rest] = stderr.split('\n');
    const end = rest.pop();
    expect(user).toBe(ignoredUser);
    const log = String.raw`^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} rbd_backup DEBUG - `;
    expect(begin).toMatch(new RegExp(`${log}dump pool rbd image tmpimage mode None, begin at ${time}\\.$`));
    expect(end).toMatch(new RegExp(`${log}dump pool rbd image tmpimage mode None, rc 0, end at ${time}\\.$`));
    const chains = [...new Set(ids.map((id) => chainOf(id).slice('rbd2/'.length)))];
    const lines = [
      `=== ${chains[0]} === passive`,
      `------      1 ${snapOf(ids[0] ?? '')} 1024 MB `,
      `------      2 ${snapOf(ids[1] ?? '')} 1024 MB `,
      `=== ${chains[1]} === passive`,
      `------      3 ${snapOf(ids[2] ?? '')} 1024 MB `,
      `=== ${chains[2]} === passive`,
      `------      4 ${snapOf(ids[3] ?? '')} 1024 MB `,
      `=== ${chains[3]} === active`,
      `------      5 ${snapOf(ids[4] ?? '')} 1024 MB `,
    ];
    expect(rest.map((line) => line.replace(new RegExp(log), ''))).toEqual(lines);
  });

  it('du: one number of MB', async () => {
    let bytes = 0;
    for (const [index, id] of ids.entries()) {
      const before = ids[index - 1];
      const sameChain = before !== undefined && chainOf(before) === chainOf(id);
      bytes += await diffBytes(pair.backup, id, sameChain ? snapOf(before) : undefined);
    }
    expect(bytes).toBeGreaterThan(4 * 7 * MiB);
    expect(await good(`${common} -o du`)).toBe(megabytes(bytes));
  });

  it('du_snap: what one backup added', async () => {
    await pair.source.rbd(['create', 'rbd/zhangzh_tmp', '--size', '10240'], { user: 'agent' });
    const backup = '-p rbd -i zhangzh_tmp -r rbd2 -u root -d node-6 -o backup';
    const duSnap = (id: string) => good(`-p rbd -i zhangzh_tmp -o du_snap -s ${id} -u root -d node-6`);
    const full = await good(`${backup} -m full`);
    expect(await duSnap(full)).toBe('0');
    let before = full;
    for (const [offset, bytes] of [
      [0, 28 * MiB + 100_000],
      [20 * MiB, 56 * MiB],
      [5 * MiB, MiB - 1],
    ] as const) {
      await write('rbd/zhangzh_tmp', `at ${offset}`, offset, bytes);
      const id = await good(`${backup} -m incr`);
      expect(await duSnap(id)).toBe(megabytes(await diffBytes(pair.backup, id, snapOf(before))));
      before = id;
    }
    // The old tool measured the first one at the head, and so said 0 no longer.
    expect(await duSnap(full)).toBe('0');
  });
});

describe('asynchronous mode', () => {
  const name = 'e1287976-e9bf-4417-af76-b85fe8ae4a1c_disk';
  const image = `compute/${name}`;
  const common = `-p compute -i ${name}`;
  let id = '';
  let hash = '';

  /** Asks until the answer is 100 or -1. */
  const poll = async (query: string): Promise<string[]> => {
    const answers: string[] = [];
    for (let tries = 0; tries < 300; tries += 1) {
      answers.push(await good(query));
      if (['100', '-1'].includes(answers.at(-1) ?? '')) return answers;
      await setTimeout(200);
    }
    throw new Error(`still ${answers.at(-1)}`);
  };

  it('backup -a prints the id at once; query_backup goes up to 100', async () => {
    await pair.source.rbd(['create', image, '--size', '320M'], { user: 'agent' });
    await write(image, 'disk', 0, 300 * MiB);
    id = await good(`${common} -o backup -m full -r rbd -u root -d node-6 -a`);
    expect(id).toMatch(idOf('rbd', name));
    const answers = await poll(`${common} -o query_backup -r rbd -u root -d node-6 -s ${id}`);
    expect(answers[0]).not.toBe('100');
    expect(answers.every((answer) => /^\d{1,3}$/.test(answer))).toBe(true);
    expect(answers.map(Number)).toEqual(answers.map(Number).toSorted((a, b) => a - b));
    expect(answers.at(-1)).toBe('100');
    hash = await sha256OfExport(pair.source, `${image}@${snapOf(id)}`);
    expect(await sha256OfExport(pair.backup, id)).toBe(hash);
  });

  it('restore -a prints nothing; query_restore goes up to 100', async () => {
    await pair.source.rbd(['snap', 'purge', image]);
    await pair.source.rbd(['rm', image]);
    expect(await good(`${common} -o restore -r rbd -u root -d node-6 -s ${id} -a`)).toBe('');
    const answers = await poll(`${common} -o query_restore -u root -d node-6 -s ${id}`);
    expect(answers.at(-1)).toBe('100');
    expect(await sha256OfExport(pair.source, image)).toBe(hash);
  });

  it('cancel ends a backup and leaves nothing; query_backup says -1', async () => {
    const before = await imageNames(pair.backup, 'rbd');
    const snaps = await snapNames(pair.source, image);
    const begun = await good(`${common} -o backup -m full -r rbd -u root -d node-6 -a`);
    expect(await old(`${common} -o cancel -u root -d node-6 -s ${begun}`)).toMatchObject({
      exitCode: 0,
      stdout: '',
      stderr: expect.stringMatching(/job \w+ is cancelled$/),
    });
    expect(await old(`${common} -o query_backup -u root -d node-6 -s ${begun}`)).toMatchObject({
      exitCode: 0,
      stdout: '-1',
      stderr: expect.stringContaining('was cancelled'),
    });
    expect(await imageNames(pair.backup, 'rbd')).toEqual(before);
    expect(await snapNames(pair.source, image)).toEqual(snaps);
  });

  it('a query of what nobody knows says -1, and of a backup whose job is forgotten 100', async () => {
    const unknown = id.replace(/\d\.snap$/, 'X.snap').replace('X', id.endsWith('1.snap') ? '2' : '1');
    expect(await good(`${common} -o query_backup -s ${unknown}`)).toBe('-1');
    await pair.agent.stop();
    const config = await readFile(pair.agentConfig, 'utf8');
    expect(config).toContain('state: ');
    await execa('rm', ['-r', `${pair.dir}/state`]);
    await pair.startAgent();
    expect(await good(`${common} -o query_backup -s ${id}`)).toBe('100');
    expect(await good(`${common} -o query_restore -s ${id}`)).toBe('-1');
  });
});

describe('chains to keep, and snapshots on the source', () => {
  const image = 'rbd/kept';
  const common = '-p rbd -i kept -r rbd2 -d dr';
  const chains = async () =>
    (await imageNames(pair.backup, 'rbd2')).filter((name) => name.startsWith('kept.')).toSorted();

  it('-n with a full keeps the newest; -o delete -n fewer', async () => {
    await pair.source.rbd(['create', image, '--size', '16M'], { user: 'agent' });
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
    await pair.source.rbd(['snap', 'create', `${image}@mine`]);
    expect(await snapNames(pair.source, image)).toHaveLength(2);
    const { stdout, stderr } = await old(`${common} -o delete_local_snaps`);
    expect(stdout).toBe('');
    expect(stderr).toContain('the next backup of rbd/kept must be a full one');
    expect(await snapNames(pair.source, image)).toEqual(['mine']);
    const refused = await old(`${common} -o backup -m incr`);
    expect(refused).toMatchObject({ exitCode: 31, stdout: '' });
    expect(refused.stderr).toContain('NO_COMMON_SNAPSHOT');
    expect(refused.stderr).toContain('-m full');
  });
});

describe('-d', () => {
  const du = '-p rbd -i kept -r rbd2 -o du';
  it.each([['dr'], ['localhost'], ['LOCALHOST.example.com']])('%s is the receiver', async (destination) => {
    expect(await old(`${du} -d ${destination}`, {})).toMatchObject({ exitCode: 0, stderr: '' });
  });

  it('that names nothing is refused with what there is', async () => {
    const { exitCode, stdout, stderr } = await old(`${du} -d node-7`, {});
    expect({ exitCode, stdout }).toEqual({ exitCode: 23, stdout: '' });
    expect(stderr).toContain('RECEIVER_NOT_FOUND: the agent has no receiver "node-7"');
    expect(stderr).toMatch(/hint: .*RBDFERRY_RECEIVER.*: dr \(localhost:\d+\)$/);
  });
});

describe('where ours is safer', () => {
  it('a restore never overwrites an image', async () => {
    const [chain] = JSON.parse(await pair.ok('list', 'rbd/kept', '--json')) as { backups: { id: string }[] }[];
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
    const end = await old(line);
    expect(end).toMatchObject({ exitCode, stdout: '' });
    expect(end.stderr).toContain(words);
  });
});

describe('backups that the older tool made', () => {
  const image = 'rbd/legacy';
  const stamps = ['2015-07-07.10:40:39.458883', '2015-07-07.10:40:43.707889', '2015-07-08.03:00:00.000001'] as const;
  const target = `rbd2/legacy.${stamps[0]}.bkp.image`;
  const ids = stamps.map((stamp) => `${target}@${stamp}.snap`);
  const hashes: string[] = [];
  const added: number[] = [];

  const shell = (words: string) => execa('bash', ['-c', `set -o pipefail; timeout 60 ${words}`]);
  const rbd = (cluster: Cluster) => `rbd ${cluster.connectArgs().join(' ')}`;

  it('are made with the commands of its script', async () => {
    const [source, backup] = [rbd(pair.source), rbd(pair.backup)];
    await pair.source.rbd(['create', image, '--size', '64M']);
    for (const [index, stamp] of stamps.entries()) {
      await write(image, `legacy ${index}`, index * 3 * MiB, 4 * MiB + index * 4096);
      await pair.source.rbd(['snap', 'create', `${image}@${stamp}.snap`]);
      if (index === 0) {
        await shell(`${source} export ${image}@${stamp}.snap - | timeout 60 ${backup} import - ${target}`);
        await pair.backup.rbd(['snap', 'create', `${target}@${stamp}.snap`]);
      } else {
        const from = `--from-snap ${stamps[index - 1]}.snap`;
        await shell(
          `${source} export-diff ${from} ${image}@${stamp}.snap - | timeout 60 ${backup} import-diff - ${target}`,
        );
      }
      hashes.push(await sha256OfExport(pair.source, `${image}@${stamp}.snap`));
      const before = stamps[index - 1];
      added.push(await diffBytes(pair.backup, ids[index] ?? '', before === undefined ? undefined : `${before}.snap`));
    }
    expect(added.every((bytes) => bytes >= 4 * MiB)).toBe(true);
  });

  it('are listed and dumped', async () => {
    const [chain] = JSON.parse(await pair.ok('dump', image, '--json')) as Record<string, unknown>[];
    expect(chain).toMatchObject({
      store: 'rbd2',
      name: target.slice('rbd2/'.length),
      image: 'legacy',
      legacy: true,
      active: true,
      source: null,
      usedBytes: added.reduce((sum, bytes) => sum + bytes),
      backups: ids.map((id, index) => ({
        id,
        kind: index === 0 ? 'full' : 'incremental',
        sizeBytes: 64 * MiB,
        addedBytes: added[index],
        client: null,
        presentOnSource: false,
      })),
    });
    const { stderr } = await old('-p rbd -i legacy -r rbd2 -o dump');
    expect(stderr).toContain(`=== ${target.slice('rbd2/'.length)} === active\n`);
    expect(stderr).toContain(`      1 ${stamps[0]}.snap 65536 kB \n`);
  });

  it('are measured', async () => {
    const total = added.reduce((sum, bytes) => sum + bytes);
    expect(await good('-p rbd -i legacy -r rbd2 -o du')).toBe(megabytes(total));
    for (const [index, id] of ids.entries()) {
      expect(await good(`-o du_snap -s ${id}`)).toBe(megabytes(added[index] ?? 0));
    }
    expect(JSON.parse(await pair.ok('du', image, '--json'))).toMatchObject({
      usedBytes: total,
      backups: 3,
      chains: [{ legacy: true, client: null }],
    });
    const report = JSON.parse(
      await pair.ok('report', '--from', '2015-07-07', '--until', '2015-07-09', '--json'),
    ) as unknown;
    expect(report).toEqual([
      expect.objectContaining({ client: null, pool: null, image: 'legacy', fullBackups: 1, addedBytes: total }),
    ]);
    // Nothing of ours is written on them.
    const { stdout } = await pair.backup.rbd(['image-meta', 'ls', target]);
    expect(stdout).not.toContain('rbdferry');
  });

  it('are restored', async () => {
    for (const [index, id] of ids.entries()) {
      expect(await good(`-p rbd -i legacy-back-${index} -r rbd2 -o restore -s ${id}`)).toBe('');
      expect(await sha256OfExport(pair.source, `rbd/legacy-back-${index}`)).toBe(hashes[index]);
    }
  });

  it('are never built on', async () => {
    const refused = await old('-p rbd -i legacy -r rbd2 -o backup -m incr');
    expect(refused).toMatchObject({ exitCode: 30, stdout: '' });
    expect(refused.stderr).toContain('NO_CHAIN');
    const full = await good('-p rbd -i legacy -r rbd2 -o backup -m full');
    expect(chainOf(full)).not.toBe(target);
    await write(image, 'ours', 0, 100_000);
    const incr = await good('-p rbd -i legacy -r rbd2 -o backup -m incr');
    expect(chainOf(incr)).toBe(chainOf(full));
    expect(await snapNames(pair.backup, target)).toEqual(stamps.map((stamp) => `${stamp}.snap`));
    // The old tool's own snapshots on the source are somebody else's for us.
    expect(await snapNames(pair.source, image)).toEqual([...stamps.map((stamp) => `${stamp}.snap`), snapOf(incr)]);
  });

  it('are deleted one by one, the others stay what they are', async () => {
    expect(await good(`-o delete -s ${ids[1]}`)).toBe('');
    for (const index of [0, 2]) expect(await sha256OfExport(pair.backup, ids[index] ?? '')).toBe(hashes[index]);
    // The third is now measured against the first: it may have rewritten what the second wrote.
    const third = await diffBytes(pair.backup, ids[2] ?? '', `${stamps[0]}.snap`);
    expect(await good(`-o du_snap -s ${ids[2]}`)).toBe(megabytes(third));
    await good(`-o delete -s ${ids[0]}`);
    expect(await sha256OfExport(pair.backup, ids[2] ?? '')).toBe(hashes[2]);
    await good(`-o delete -s ${ids[2]}`);
    expect(await imageNames(pair.backup, 'rbd2')).not.toContain(target.slice('rbd2/'.length));
  });
});
