import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { applyWrites, randomBytes, sha256OfExport, type Cluster } from '../ceph/cluster.js';
import type { CliResult } from '../harness/daemon.js';
import { snapNames } from '../harness/look.js';
import { startPair, type Pair } from '../harness/pair.js';

/** The session in the README of the older tool, line by line, with our `rbd_backup`; and the backups which that tool made. All else of it: test/house. */

const MiB = 1024 * 1024;
const bin = fileURLToPath(new URL('../../packages/cli/bin/rbd_backup', import.meta.url));
const time = String.raw`\d{4}-\d\d-\d\d\.\d\d:\d\d:\d\d\.\d{6}`;
const ignoredUser = '-u root is ignored: there is no ssh any more';

let pair: Pair;

beforeAll(async () => {
  pair = await startPair({ name: 'old' });
});

afterAll(async () => {
  await pair?.stop();
});

/** Runs `rbd_backup` with the words of a line of the README: its host is no receiver of ours, so the environment names one. */
const old = async (line: string): Promise<CliResult> => {
  const { exitCode, stdout, stderr } = await execa(process.execPath, [bin, ...line.split(' ')], {
    env: { RBDFERRY_SOCKET: pair.socket, RBDFERRY_RECEIVER: 'dr' },
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
    await pair.source.rbd(['create', image, '--size', '128M'], { user: 'agent' });
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
    expect(stdout).toContain('size 128 MiB in 32 objects');
    expect(await sha256OfExport(pair.source, image)).toBe(first.hash);
  });

  it('delete: prints nothing, and the backup is gone', async () => {
    for (const seed of ['three', 'four']) {
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
      `------      1 ${snapOf(ids[0] ?? '')} 128 MB `,
      `------      2 ${snapOf(ids[1] ?? '')} 128 MB `,
      `=== ${chains[1]} === passive`,
      `------      3 ${snapOf(ids[2] ?? '')} 128 MB `,
      `=== ${chains[2]} === active`,
      `------      4 ${snapOf(ids[3] ?? '')} 128 MB `,
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
    expect(bytes).toBeGreaterThan(3 * 7 * MiB);
    expect(await good(`${common} -o du`)).toBe(megabytes(bytes));
  });

  it('du_snap: what one backup added', async () => {
    await pair.source.rbd(['create', 'rbd/zhangzh_tmp', '--size', '256'], { user: 'agent' });
    const backup = '-p rbd -i zhangzh_tmp -r rbd2 -u root -d node-6 -o backup';
    const duSnap = (id: string) => good(`-p rbd -i zhangzh_tmp -o du_snap -s ${id} -u root -d node-6`);
    const full = await good(`${backup} -m full`);
    expect(await duSnap(full)).toBe('0');
    let before = full;
    for (const [offset, bytes] of [
      [0, 28 * MiB + 100_000],
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

  it('are listed and measured', async () => {
    const [chain] = JSON.parse(await pair.ok('dump', image, '--json')) as Record<string, unknown>[];
    expect(chain).toMatchObject({
      image: 'legacy',
      legacy: true,
      usedBytes: added.reduce((sum, bytes) => sum + bytes),
      backups: ids.map((id, index) => ({
        id,
        kind: index === 0 ? 'full' : 'incremental',
        sizeBytes: 64 * MiB,
        addedBytes: added[index],
      })),
    });
    // Nothing of ours is written on them.
    const { stdout } = await pair.backup.rbd(['image-meta', 'ls', target]);
    expect(stdout).not.toContain('rbdferry');
  });

  it('are restored', async () => {
    expect(await good(`-p rbd -i legacy-back -r rbd2 -o restore -s ${ids[2]}`)).toBe('');
    expect(await sha256OfExport(pair.source, 'rbd/legacy-back')).toBe(hashes[2]);
  });

  it('are never built on', async () => {
    const full = await good('-p rbd -i legacy -r rbd2 -o backup -m full');
    expect(chainOf(full)).not.toBe(target);
    expect(await snapNames(pair.backup, target)).toEqual(stamps.map((stamp) => `${stamp}.snap`));
    // The old tool's own snapshots on the source are somebody else's for us.
    expect(await snapNames(pair.source, image)).toEqual([...stamps.map((stamp) => `${stamp}.snap`), snapOf(full)]);
  });

  it('are deleted, the others stay what they are', async () => {
    expect(await good(`-o delete -s ${ids[1]}`)).toBe('');
    for (const index of [0, 2]) expect(await sha256OfExport(pair.backup, ids[index] ?? '')).toBe(hashes[index]);
    const third = await diffBytes(pair.backup, ids[2] ?? '', `${stamps[0]}.snap`);
    expect(await good(`-o du_snap -s ${ids[2]}`)).toBe(megabytes(third));
  });
});
