import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { FerryError } from '@rbdferry/core/errors/ferry-error.js';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { randomBytes } from '../ceph/image-content.js';
import { intercept } from '../fake-ceph/intercept.js';
import { expectError } from '../harness/expect-error.js';
import { startHouse, type House } from './house.js';
import { snapOf } from './site.js';

/** A backup's content as a file, or on stdout. */

const MiB = 1024 * 1024;
const image = 'rbd/vm1';
const bin = fileURLToPath(new URL('../../packages/cli/bin/rbdferry', import.meta.url));
let house: House;
let ids: string[];
let dir: string;

beforeAll(async () => {
  house = await startHouse();
  await house.source.create(image, { sizeBytes: BigInt(16 * MiB) });
  house.source.write(image, 5000, randomBytes('first', 1_000_000));
  house.source.write(image, 15 * MiB, randomBytes('end', MiB));
  const first = await house.ok('backup', image);
  house.source.write(image, 5 * MiB + 7, randomBytes('second', 3000));
  house.source.write(image, 5000, new Uint8Array(300_000));
  ids = [first, await house.ok('backup', image)];
});

afterAll(() => house?.stop());

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'rbdferry-to-file-'));
});

afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(dir, { recursive: true, force: true });
});

/** A machine that is busy starts a process in seconds. */
const patiently = { timeout: 30_000 };

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
const sha256Of = (path: string): string => sha256(readFileSync(path));
const contentOf = (id: string): string => house.backup.sha256(id);
const newest = () => ids.at(-1) ?? '';
const toFile = (...args: string[]) => house.cli('restore', newest(), '--to-file', ...args);

interface End {
  readonly status: number | null;
  readonly stdout: Buffer;
  readonly stderr: string;
}

/** The command as a process of its own, in the folder; what is typed is a shell's. */
const inShell = (line: string, onStarted: (pid: number) => void = () => {}): Promise<End> =>
  new Promise((resolve) => {
    const child = spawn('bash', ['-c', line], {
      cwd: dir,
      env: { ...process.env, RBDFERRY_SOCKET: house.socket, RBDFERRY: bin },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const stdout: Buffer[] = [];
    let stderr = '';
    child.stdout.on('data', (bytes: Buffer) => stdout.push(bytes));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
    child.on('spawn', () => {
      onStarted(child.pid ?? 0);
    });
    child.on('close', (status) => {
      resolve({ status, stdout: Buffer.concat(stdout), stderr });
    });
  });

describe('a file', () => {
  it('has the content of any backup, and holes where that has none', async () => {
    for (const id of ids) {
      const path = join(dir, snapOf(id));
      expect(await house.cli('restore', id, '--to-file', path)).toEqual({ exitCode: 0, stdout: path, stderr: '' });
      expect(sha256Of(path)).toBe(contentOf(id));
      const { size, blocks } = statSync(path);
      expect(size).toBe(16 * MiB);
      expect(blocks * 512).toBeLessThan(3 * MiB);
    }
    expect(readdirSync(dir)).toHaveLength(2);
    // Nothing was made in production, and it was no job.
    expect(await house.source.imageNames('rbd')).toEqual(['vm1']);
    expect(await house.ok('jobs', '--json')).not.toContain('restore');
    const record = house.agent.records.findLast(({ msg }) => msg === 'backup read');
    expect(record).toMatchObject({ backup: ids[1], result: 'ok' });
  });

  it('is chosen as for an image, and told as JSON', async () => {
    const path = join(dir, 'latest.raw');
    const { stdout, stderr } = await house.cli('restore', image, '--latest', '--to-file', path, '--json');
    expect(JSON.parse(stdout)).toMatchObject({ backupId: newest(), path, format: 'raw', sizeBytes: 16 * MiB });
    expect(stderr).toBe(`restoring ${newest()}`);
    expect(sha256Of(path)).toBe(contentOf(newest()));
  });

  it('that is there is replaced only when that was asked for, and keeps its permissions', async () => {
    const path = join(dir, 'there');
    writeFileSync(path, 'precious', { mode: 0o600 });
    expect(await toFile(path)).toMatchObject({ exitCode: 12, stdout: '' });
    expect(readFileSync(path, 'utf8')).toBe('precious');
    symlinkSync(path, join(dir, 'link'));
    expect(await toFile(join(dir, 'link'), '--replace')).toMatchObject({ exitCode: 0 });
    expect(sha256Of(path)).toBe(contentOf(newest()));
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(readdirSync(dir).toSorted()).toEqual(['link', 'there']);
  });

  it('is none in the place of a folder, and none where there is no folder', async () => {
    expectError(await toFile(dir, '--replace'), 'INVALID_REQUEST', 12, 'is no file');
    expectError(await toFile(join(dir, 'no', 'x')), 'OUTPUT_FAILED', 3, 'ENOENT');
    expect(readdirSync(dir)).toEqual([]);
  });

  it('that somebody makes meanwhile stays his', async () => {
    const path = join(dir, 'race');
    const hang = house.backup.cluster.trouble.hang((call) => call === 'exportDiff.chunk');
    const end = toFile(path);
    await expect.poll(() => readdirSync(dir), patiently).toHaveLength(1);
    writeFileSync(path, 'his');
    hang.release();
    expectError(await end, 'INVALID_REQUEST', 12, 'exists');
    expect(readFileSync(path, 'utf8')).toBe('his');
    expect(readdirSync(dir)).toEqual(['race']);
  });

  it.each([
    [['--to', 'rbd/x'], 'do not go together'],
    [['--async'], 'are for jobs'],
    [['--attempts', '3'], 'are for jobs'],
    [['--idempotency-key', 'k'], 'are for jobs'],
    [['--format', 'vmdk'], 'Allowed choices are raw, qcow2'],
  ])('is not made with %j', async (options, words) => {
    const end = await toFile(join(dir, 'x'), ...options);
    expect(end).toMatchObject({ exitCode: 2, stdout: '' });
    expect(end.stderr).toContain(words);
    expect(readdirSync(dir)).toEqual([]);
  });

  it.each([
    [['-', '--json'], 'both write to stdout'],
    [['-', '--format', 'qcow2'], 'cannot be written to stdout'],
    [[''], 'needs a path'],
  ])('is not %j', async (options, words) => {
    const end = await toFile(...options);
    expect(end).toMatchObject({ exitCode: 2, stdout: '' });
    expect(end.stderr).toContain(words);
  });

  it('is not made by --format alone', async () => {
    expect(await house.cli('restore', newest(), '--format', 'raw')).toMatchObject({ exitCode: 2 });
  });

  it('of a backup that is not there is not begun', async () => {
    expect(await house.cli('restore', '01234567', '--to-file', join(dir, 'x'))).toMatchObject({ exitCode: 24 });
    const gone = newest().replace('vm1.', 'vm2.');
    expect(await house.cli('restore', gone, '--to-file', join(dir, 'x'))).toMatchObject({ exitCode: 24 });
    expect(readdirSync(dir)).toEqual([]);
  });
});

describe('no part of a file is left', () => {
  /** Something befalls the export when its data has begun. */
  const whileRead = async <T>(run: () => Promise<T>, befalls: () => Promise<unknown>): Promise<T> => {
    const hang = house.backup.cluster.trouble.hang((call) => call === 'exportDiff.chunk');
    try {
      const end = run();
      await expect.poll(() => readdirSync(dir), patiently).toHaveLength(1);
      expect(readdirSync(dir)[0]).toMatch(/^x\.rbdferry-partial-[0-9a-f]{8}$/);
      await befalls();
      return await end;
    } finally {
      hang.release();
    }
  };

  const toX = () => toFile(join(dir, 'x'));

  it('when the agent goes away', async () => {
    const end = await whileRead(toX, () => house.agent.stop());
    expect(end.stdout).toBe('');
    expect(end.exitCode).toBe(72);
    expect(readdirSync(dir)).toEqual([]);
    await house.agent.start();
  });

  it('when the source of the stream fails in the middle', async () => {
    house.receiver.between = (ceph) =>
      intercept(ceph, {
        around: ({ name }, run) => {
          if (name === 'exportDiff.chunk') throw new FerryError('CEPH_FAILED', 'the cluster broke');
          return run();
        },
      });
    await house.receiver.restart();
    const end = await toFile(join(dir, 'x'));
    expect(end.stdout).toBe('');
    expect(end.exitCode).toBe(64);
    expect(readdirSync(dir)).toEqual([]);
    house.receiver.between = (ceph) => ceph;
    await house.receiver.restart();
  });

  it.each(['SIGINT', 'SIGTERM', 'SIGHUP'] as const)('by %s', async (signal) => {
    let pid = 0;
    const run = () => inShell(`exec $RBDFERRY restore ${newest()} --to-file x`, (started) => (pid = started));
    const end = await whileRead(run, () => Promise.resolve(process.kill(pid, signal)));
    expect(end).toMatchObject({ status: 130 });
    expect(readdirSync(dir)).toEqual([]);
    await expect
      .poll(() => house.agent.records.findLast(({ msg }) => msg === 'backup read'))
      .toMatchObject({
        result: 'cancelled',
      });
  });

  it('when the disk takes no more', async () => {
    const line = `trap '' XFSZ; ulimit -f 2000; exec $RBDFERRY restore ${newest()} --to-file x`;
    const { status, stderr } = await inShell(line);
    expect(stderr).toContain('OUTPUT_FAILED: could not write to "x": EFBIG');
    expect(status).toBe(3);
    expect(readdirSync(dir)).toEqual([]);
  });
});

describe('stdout', () => {
  it('gets every byte, zeros as well, and nothing else', async () => {
    for (const id of ids) {
      const { status, stdout, stderr } = await inShell(`exec $RBDFERRY restore ${id} --to-file -`);
      expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
      expect(stdout.length).toBe(16 * MiB);
      expect(sha256(stdout)).toBe(contentOf(id));
    }
  });

  it('may be a file', async () => {
    expect((await inShell(`exec $RBDFERRY restore ${newest()} --to-file - > x`)).status).toBe(0);
    expect(sha256Of(join(dir, 'x'))).toBe(contentOf(newest()));
  });

  it('whose reader goes is a failure: what it has is not the backup', async () => {
    const { stderr } = await inShell(
      `$RBDFERRY restore ${newest()} --to-file - | head -c 100 >/dev/null; echo \${PIPESTATUS[0]} >&2`,
    );
    expect(stderr).toMatch(/OUTPUT_FAILED: could not write to stdout: its reader has gone/);
    expect(stderr).toMatch(/\n3\n$/);
  });

  it('that is full is a failure', async () => {
    const { status, stderr } = await inShell(`exec $RBDFERRY restore ${newest()} --to-file - > /dev/full`);
    expect(stderr).toMatch(/OUTPUT_FAILED: could not write to stdout: ENOSPC/);
    expect(status).toBe(3);
  });

  it('that nobody reads any more keeps nobody from leaving', async () => {
    let pid = 0;
    const end = inShell(
      `mkfifo pipe; { head -c 1000 > got; sleep 60; } < pipe > /dev/null 2>&1 & echo $! > reader; exec $RBDFERRY restore ${newest()} --to-file - > pipe`,
      (started) => (pid = started),
    );
    const got = () => statSync(join(dir, 'got'), { throwIfNoEntry: false })?.size;
    await expect.poll(got, patiently).toBe(1000);
    process.kill(pid, 'SIGTERM');
    expect((await end).status).toBe(130);
    process.kill(Number(readFileSync(join(dir, 'reader'), 'utf8')), 'SIGKILL');
  });

  it('is not the backup when the agent goes away', async () => {
    const hang = house.backup.cluster.trouble.hang((call) => call === 'exportDiff.chunk');
    const end = inShell(`exec $RBDFERRY restore ${newest()} --to-file -`);
    await expect.poll(() => hang.waiting, patiently).toBeGreaterThan(0);
    await house.agent.stop();
    hang.release();
    expect((await end).status).toBe(72);
    await house.agent.start();
  });
});

describe('a qcow2 file', () => {
  /** A stand-in: its qcow2 is the raw content behind a word. */
  const install = (convert: string): void => {
    writeFileSync(
      join(dir, 'qemu-img'),
      `#!/bin/sh
if [ "$1" = --version ]; then echo 'qemu-img version 7'; exit 0; fi
[ "$1 $2 $3 $4 $5 $6" = 'convert -f raw -O qcow2 --' ] || exit 9
${convert}
`,
    );
    chmodSync(join(dir, 'qemu-img'), 0o755);
    vi.stubEnv('PATH', `${dir}:${process.env['PATH'] ?? ''}`);
  };

  it('is made of the whole content, and the raw one goes', async () => {
    install('{ printf QFI; cat "$7"; } > "$8"');
    expect(await toFile(join(dir, 'x'), '--format', 'qcow2')).toMatchObject({ exitCode: 0, stdout: join(dir, 'x') });
    const made = readFileSync(join(dir, 'x'));
    expect(made.subarray(0, 3).toString()).toBe('QFI');
    expect(sha256(made.subarray(3))).toBe(contentOf(newest()));
    expect(readdirSync(dir).toSorted()).toEqual(['qemu-img', 'x']);
  });

  it('that cannot be made leaves nothing', async () => {
    install('echo begun > "$8"; echo "qemu-img: no room" >&2; exit 1');
    expectError(await toFile(join(dir, 'x'), '--format', 'qcow2'), 'OUTPUT_FAILED', 3, 'qemu-img: no room');
    expect(readdirSync(dir)).toEqual(['qemu-img']);
  });

  it('is refused where there is no qemu-img, before anything is read', async () => {
    vi.stubEnv('PATH', dir);
    const before = house.agent.records.filter(({ msg }) => msg === 'backup read').length;
    expectError(await toFile(join(dir, 'x'), '--format', 'qcow2'), 'INVALID_REQUEST', 12, 'qemu-img');
    expect(house.agent.records.filter(({ msg }) => msg === 'backup read').length).toBe(before);
    expect(readdirSync(dir)).toEqual([]);
  });
});
