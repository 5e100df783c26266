import { mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { applyWrites, randomBytes, sha256OfExport } from '../ceph/cluster.js';
import { makeFormat1Image } from '../ceph/format-1.js';
import { Control, doneBytesOf, hasEnded } from '../harness/control.js';
import { cliPath, runCli, startDaemon, type CliResult } from '../harness/daemon.js';
import { expectError } from '../harness/expect-error.js';
import { imageNames, snapNames } from '../harness/look.js';
import { startPair, type Pair } from '../harness/pair.js';

/** Codes that need a cluster or a connection in a bad state; through the command line, with text, hint and exit status. */
const MiB = 1024 * 1024;
let pair: Pair;

beforeAll(async () => {
  pair = await startPair({
    name: 'codes',
    agentExtra: 'stall_timeout: 4s\n',
    receiverExtra: 'stall_timeout: 4s\n',
    receiverCommandTimeout: '10s',
  });
  await pair.source.rbd(['create', '--size', '64M', 'rbd/vm']);
  await applyWrites(pair.source, 'rbd/vm', [{ offset: 0, data: randomBytes('codes', 40 * MiB) }]);
  await pair.ok('backup', 'rbd/vm');
});

afterAll(async () => {
  await pair?.stop();
});

/** An agent of its own with a changed configuration; answers what `backup rbd/vm` said. */
const backupWith = async (
  name: string,
  change: (config: string) => string,
  options: { env?: Record<string, string> } = {},
): Promise<CliResult> => {
  const config = join(pair.dir, `${name}.yaml`);
  const socket = join(pair.dir, `${name}.sock`);
  const text = (await readFile(pair.agentConfig, 'utf8'))
    .replace(/^socket:.*$/m, `socket: ${socket}`)
    .replace(/^state:.*$/m, `state: ${join(pair.dir, `${name}-state`)}`);
  await writeFile(config, change(text));
  const daemon = await startDaemon('rbdferry-agent', config, { env: options.env ?? {} });
  try {
    return await runCli(['--socket', socket, 'backup', 'rbd/vm']);
  } finally {
    await daemon.stop();
  }
};

describe('Ceph', () => {
  it('CEPH_NOT_INSTALLED: no rbd in the path', async () => {
    const bin = join(pair.dir, 'bin-without-rbd');
    await mkdir(bin);
    for (const program of ['node', 'readlink', 'dirname']) {
      const { stdout } = await execa('which', [program]);
      await symlink(stdout, join(bin, program));
    }
    const result = await backupWith('path', (text) => text, { env: { PATH: bin } });
    expectError(result, 'CEPH_NOT_INSTALLED', 65, 'rbd');
  });

  it('CEPH_TIMEOUT: a cluster that does not answer', async () => {
    const osd = pair.source.daemonPids().get('osd.0') ?? 0;
    process.kill(osd, 'SIGSTOP');
    try {
      const result = await backupWith('timeout', (text) => text.replace('command_timeout: 60s', 'command_timeout: 3s'));
      expectError(result, 'CEPH_TIMEOUT', 61, 'rbd/vm');
    } finally {
      process.kill(osd, 'SIGCONT');
    }
  });
});

describe('images', () => {
  const create = (name: string, ...args: string[]) =>
    pair.source.rbd(['create', '--size', '16M', `rbd/${name}`, ...args]);
  /** It is refused before anything was made of it. */
  const expectRefused = async (name: string, code: string, exit: number, words: string): Promise<void> => {
    expectError(await pair.cli('backup', `rbd/${name}`), code, exit, words);
    expect(await snapNames(pair.source, `rbd/${name}`)).toEqual([]);
  };

  it('SNAPSHOT_LIMIT: an image may have no more snapshots', async () => {
    await create('few');
    await pair.source.rbd(['snap', 'create', 'rbd/few@mine']);
    await pair.source.rbd(['snap', 'limit', 'set', '--limit', '1', 'rbd/few']);
    expectError(await pair.cli('backup', 'rbd/few'), 'SNAPSHOT_LIMIT', 28, 'rbd/few@');
  });

  it('IMAGE_READ_ONLY: a demoted image of a mirror', async () => {
    await pair.source.rbd(['mirror', 'pool', 'enable', 'rbd', 'image']);
    await create('demoted');
    await pair.source.rbd(['mirror', 'image', 'enable', 'rbd/demoted', 'snapshot']);
    await pair.source.rbd(['mirror', 'image', 'demote', 'rbd/demoted']);
    await expectRefused('demoted', 'IMAGE_READ_ONLY', 29, 'not the primary one');
  });

  it('IMAGE_UNSUPPORTED: an image of format 1, which disturbs nothing else', async () => {
    await makeFormat1Image(pair.source, { pool: 'rbd', name: 'ancient', sizeBytes: 16 * MiB });
    await expectRefused('ancient', 'IMAGE_UNSUPPORTED', 46, 'of format 1');
    const chain = 'ancient.2015-07-07.10:40:39.458883.bkp.image';
    await makeFormat1Image(pair.backup, { pool: 'rbd2', name: chain, sizeBytes: 16 * MiB });
    await applyWrites(pair.backup, `rbd2/${chain}`, [{ offset: MiB, data: randomBytes('ancient', MiB) }]);
    const id = `rbd2/${chain}@2015-07-07.10:40:43.707889.snap`;
    await pair.backup.rbd(['snap', 'create', id]);
    expect(await pair.ok('list', 'rbd/ancient')).toContain(id);
    expect(await pair.ok('list')).toContain(id);
    await pair.ok('restore', id, '--to', 'rbd/ancient-back');
    expect(await sha256OfExport(pair.source, 'rbd/ancient-back')).toBe(await sha256OfExport(pair.backup, id));
  });

  it('IMAGE_UNSUPPORTED: an image in live import, and one in migration is backed up', async () => {
    const server = createServer((request, response) => {
      const [first, last] =
        /bytes=(\d+)-(\d+)/
          .exec(request.headers.range ?? '')
          ?.slice(1)
          .map(Number) ?? [];
      if (first === undefined || last === undefined) response.writeHead(200, { 'content-length': 16 * MiB }).end();
      else response.writeHead(206, { 'content-length': last - first + 1 }).end(Buffer.alloc(last - first + 1, 'x'));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    const port = typeof address === 'object' ? address?.port : undefined;
    const spec = { type: 'raw', stream: { type: 'http', url: `http://127.0.0.1:${port}/x` } };
    const args = ['--import-only', '--source-spec', JSON.stringify(spec), 'rbd/live'];
    await pair.source.rbd(['migration', 'prepare', ...args]);
    await expectRefused('live', 'IMAGE_UNSUPPORTED', 46, 'live import');
    await pair.source.rbd(['migration', 'abort', 'rbd/live']);
    server.close();

    await create('moving');
    await applyWrites(pair.source, 'rbd/moving', [{ offset: 0, data: randomBytes('moving', MiB) }]);
    await pair.source.rbd(['migration', 'prepare', 'rbd/moving', 'rbd/moved']);
    const id = await pair.ok('backup', 'rbd/moved');
    expect(await sha256OfExport(pair.backup, id)).toBe(await sha256OfExport(pair.source, 'rbd/moved'));
    await pair.source.rbd(['migration', 'abort', 'rbd/moved']);
  });

  it('IMAGE_PROTECTED: a restore would take an image out of its group or its mirror', async () => {
    await create('member');
    const id = await pair.ok('backup', 'rbd/member');
    await pair.source.rbd(['group', 'create', 'rbd/g1']);
    await pair.source.rbd(['group', 'image', 'add', 'rbd/g1', 'rbd/member']);
    expectError(await pair.cli('restore', id, '--replace'), 'IMAGE_PROTECTED', 39, 'a member of the group "rbd/g1"');
    expect((await pair.source.rbd(['group', 'image', 'ls', 'rbd/g1'])).stdout).toContain('rbd/member');
    await pair.source.rbd(['group', 'image', 'rm', 'rbd/g1', 'rbd/member']);
    await pair.source.rbd(['mirror', 'image', 'enable', 'rbd/member', 'snapshot']);
    expectError(await pair.cli('restore', id, '--replace'), 'IMAGE_PROTECTED', 39, 'it is mirrored');
    await pair.source.rbd(['mirror', 'image', 'disable', 'rbd/member']);
    await pair.ok('restore', id, '--replace');
  });
});

describe('transfers', () => {
  it('TRANSFER_STALLED: a backup cluster that takes nothing any more', async () => {
    const { execa: run } = await import('execa');
    await applyWrites(pair.source, 'rbd/vm', [{ offset: 0, data: randomBytes('stall', 60 * MiB) }]);
    const before = await imageNames(pair.backup, 'rbd2');
    const osd = pair.backup.daemonPids().get('osd.0') ?? 0;
    const control = new Control(pair.socket);
    const cli = run(process.execPath, [cliPath, '--socket', pair.socket, 'backup', 'rbd/vm'], {
      reject: false,
      stdin: 'ignore',
    });
    let result: CliResult;
    try {
      const jobId = await runningJob();
      await control.until(jobId, (job) => doneBytesOf(job) > 0 || hasEnded(job));
      process.kill(osd, 'SIGSTOP');
      const { exitCode, stdout, stderr } = await cli;
      result = { exitCode: exitCode ?? -1, stdout, stderr };
    } finally {
      process.kill(osd, 'SIGCONT');
      control.close();
    }
    expectError(result, 'TRANSFER_STALLED', 70, 'for 4 s');
    expect(result.stderr).toMatch(/hint: .*cluster/);
    expect(result.stderr).not.toContain('network');
    // The cluster is back, and so is the chain: the next backup is right.
    for (let tries = 0; tries < 60 && (await snapNames(pair.source, 'rbd/vm')).length > 1; tries += 1)
      await sleep(1000);
    const next = await pair.ok('backup', 'rbd/vm');
    expect(await imageNames(pair.backup, 'rbd2')).toEqual(before);
    const snap = next.slice(next.indexOf('@') + 1);
    expect(await sha256OfExport(pair.backup, next)).toBe(await sha256OfExport(pair.source, `rbd/vm@${snap}`));
  });

  const runningJob = async (): Promise<string> => {
    for (let tries = 0; tries < 100; tries += 1) {
      const [job] = JSON.parse(await pair.ok('jobs', '--active', '--json')) as { id: string }[];
      if (job !== undefined) return job.id;
    }
    throw new Error('no job');
  };

  it('CANCELLED: Ctrl-C', async () => {
    await applyWrites(pair.source, 'rbd/vm', [{ offset: 0, data: randomBytes('cancel', 60 * MiB) }]);
    const before = await snapNames(pair.source, 'rbd/vm');
    const cli = execa(process.execPath, [cliPath, '--socket', pair.socket, 'backup', 'rbd/vm'], {
      reject: false,
      stdin: 'ignore',
    });
    await runningJob();
    cli.kill('SIGINT');
    const { exitCode, stdout } = await cli;
    expect(exitCode).toBe(130);
    expect(stdout).toBe('');
    expect(await snapNames(pair.source, 'rbd/vm')).toEqual(before);
  });

  it('CONNECTION_LOST: the agent dies while the command waits', async () => {
    const cli = execa(process.execPath, [cliPath, '--socket', pair.socket, 'backup', 'rbd/vm'], {
      reject: false,
      stdin: 'ignore',
    });
    const jobId = await runningJob();
    await pair.agent.kill();
    const { exitCode, stdout, stderr } = await cli;
    expectError({ exitCode: exitCode ?? -1, stdout, stderr }, 'CONNECTION_LOST', 72, jobId);
    await pair.startAgent();
    const ended = await pair.cli('job', 'wait', jobId);
    expect([0, 71]).toContain(ended.exitCode);
  });
});
