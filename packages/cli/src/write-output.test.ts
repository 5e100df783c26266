import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import {
  agentForTest,
  backupId,
  backupOf,
  cancelled,
  chainOf,
  failed,
  jobOf,
  queued,
  running,
  serverStream,
  streamOf,
  type FakeAgent,
} from '../test/fake-agent.js';
import { bin, oldBin, runOnFullDisk, type CliEnd } from '../test/run-cli.js';
import { runRbdBackup } from './rbd-backup/run-rbd-backup.js';

/** What cannot be written: full disks, closed and broken pipes, against a real gRPC server that plays the agent. */

/** Runs a command under a shell, which redirects its output: `{}` stands for the command. */
const inShell = (line: string, args: readonly string[], program = bin): Promise<CliEnd> =>
  new Promise((resolve, reject) => {
    const script = line.replace('{}', '"$0" "$@"');
    const child = spawn('bash', ['-c', `set -o pipefail; ${script}`, process.execPath, program, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { PATH: process.env['PATH'] },
    });
    let [stdout, stderr] = ['', ''];
    child.stdout.on('data', (data) => (stdout += String(data)));
    child.stderr.on('data', (data) => (stderr += String(data)));
    child.on('error', reject);
    child.on('close', (status, signal) => {
      resolve({ status, signal, stdout, stderr });
    });
  });

const on = (line: string, { socket }: FakeAgent, ...args: string[]) => inShell(line, ['--socket', socket, ...args]);

const full = '{} >/dev/full';
/** It says so, and what is done all the same. */
const expectNotWritten = (end: Pick<CliEnd, 'status' | 'stdout' | 'stderr'>, words: string): void => {
  expect({ status: end.status, stdout: end.stdout }).toEqual({ status: 3, stdout: '' });
  expect(end.stderr).toContain(unwritten);
  expect(end.stderr).toContain(words);
  expect(end.stderr).not.toMatch(/\n\s+at /);
};
const unwritten = 'rbdferry: OUTPUT_FAILED: could not write to stdout: ENOSPC: no space left on device\n';

describe('a full disk', () => {
  it.each([
    ['backup rbd/vm1', `hint: the backup is made: ${backupId}`],
    ['backup rbd/vm1 --json', `hint: the backup is made: ${backupId}`],
    ['backup rbd/vm1 --async', 'hint: job k3v9x2m7qa was started'],
    ['backup rbd/vm1 --async --json', `hint: the backup is made: ${backupId}`],
    [`restore ${backupId} --to rbd/vm2`, 'hint: the backup is made'],
    ['job wait x', `hint: the backup is made: ${backupId}`],
    ['job show x', 'hint: nothing but the output is missing'],
    ['job watch x --json', `hint: the backup is made: ${backupId}`],
    ['jobs', 'hint: nothing but the output is missing'],
    ['jobs --json', 'hint: nothing but the output is missing'],
    ['list', 'hint: nothing but the output is missing'],
    ['list --json', 'hint: nothing but the output is missing'],
    ['dump rbd/vm1', 'hint: nothing but the output is missing'],
    ['du', 'hint: nothing but the output is missing'],
    ['report', 'hint: nothing but the output is missing'],
    ['version', 'hint: nothing but the output is missing'],
    ['--version', 'hint: nothing but the output is missing'],
    ['--help', 'hint: nothing but the output is missing'],
    ['help backup', 'hint: nothing but the output is missing'],
    ['completion bash', 'hint: nothing but the output is missing'],
    ['cancel x', 'hint: job k3v9x2m7qa has ended: committed'],
    [`delete ${backupId}`, 'hint: the deletion was carried out; what is gone is told above'],
    [`delete ${backupId} --json`, 'hint: the deletion was carried out; what is gone is told above'],
  ])('%s says so, and what is done all the same', async (line, words) => {
    const end = await runOnFullDisk(['--socket', (await agentForTest()).socket, ...line.split(' ')]);
    expectNotWritten(end, words);
  });

  it.each([
    ['backup rbd/vm1', `hint: the backup is made: ${backupId}`],
    ['list --json', 'hint: nothing but the output is missing'],
    ['--help', 'hint: nothing but the output is missing'],
  ])('/dev/full: %s says so', async (line, words) => {
    expectNotWritten(await on(full, await agentForTest(), ...line.split(' ')), words);
  });

  it('pki: the files are made', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'rbdferry-full-'));
    onTestFinished(() => {
      rmSync(dir, { recursive: true, force: true });
    });
    const { status, stderr } = await runOnFullDisk(['pki', 'init', '--dir', dir]);
    expect(status).toBe(3);
    expect(stderr).toBe(`${unwritten}hint: the files are made: ${join(dir, 'ca.crt')}, ${join(dir, 'ca.key')}\n`);
  });

  it('a job that failed keeps its status', async () => {
    const states = [jobOf(queued), jobOf(failed('NO_CHAIN', 'no chain', 'make one'))];
    const { socket } = await agentForTest({ states });
    const end = await runOnFullDisk(['--socket', socket, 'backup', 'rbd/vm1', '--json']);
    expect(end).toMatchObject({ status: 30, stderr: 'rbdferry: NO_CHAIN: no chain\nhint: make one\n' });
  });

  it('a deletion goes on, and tells on stderr what is gone', async () => {
    const event = (value: string) => ({ event: { $case: 'deleted' as const, value }, trashedUntilMs: 0n });
    const agent = () => agentForTest({ methods: { deleteBackups: streamOf(event('a'), event('b'), event('c')) } });
    const end = await runOnFullDisk(['--socket', (await agent()).socket, 'delete', backupId]);
    expect(end.stderr).toBe(
      `deleted a\ndeleted b\ndeleted c\n${unwritten}hint: the deletion was carried out; what is gone is told above\n`,
    );
    const json = await runOnFullDisk(['--socket', (await agent()).socket, 'delete', backupId, '--json']);
    expect(json.stderr).toContain('deleted a\ndeleted b\n');
  });

  it('that fills up in the middle of a text is no success either', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'rbdferry-full-'));
    onTestFinished(() => {
      rmSync(dir, { recursive: true, force: true });
    });
    const file = join(dir, 'out');
    const limited = `trap '' XFSZ; ulimit -f 1; {} >${file}`;
    const { status, stderr } = await inShell(limited, ['__man', 'rbdferry.1']);
    expect(readFileSync(file).length).toBe(1024);
    expect(status).toBe(3);
    expect(stderr).toContain('OUTPUT_FAILED: could not write to stdout: EFBIG');
  });

  it('a stdout that is open for reading only', async () => {
    const end = await on('{} 1</dev/null', await agentForTest(), 'backup', 'rbd/vm1');
    expect(end.status).toBe(3);
    expect(end.stderr).toContain(`the backup is made: ${backupId}`);
  });

  it('for stderr changes nothing', async () => {
    const states = [jobOf(queued), jobOf(failed('NO_CHAIN', 'no chain', 'make one'))];
    expect(await on('{} 2>/dev/full', await agentForTest({ states }), 'backup', 'rbd/vm1')).toMatchObject({
      status: 30,
    });
    expect(await on('{} >/dev/full 2>&1', await agentForTest(), 'backup', 'rbd/vm1')).toMatchObject({ status: 3 });
  });
});

describe('rbd_backup on a full disk', () => {
  const wordsOf = async (op: string) => {
    const { socket } = await agentForTest();
    return ['--socket', socket, '-p', 'rbd', '-i', 'vm1', '-r', 'rbd2', ...op.split(' ')];
  };

  it.each(['-o backup -m full', '-o du', `-o query_backup -s ${backupId}`, `-o backup -m full -a`, '-h'])(
    '%s',
    async (op) => {
      const end = await runOnFullDisk(await wordsOf(op), runRbdBackup);
      expect(end.status).toBe(3);
      expect(end.stderr).toContain(unwritten);
    },
  );

  it('/dev/full: du', async () => {
    const end = await inShell(full, await wordsOf('-o du'), oldBin);
    expect(end.status).toBe(3);
    expect(end.stderr).toContain(unwritten);
  });

  it('dump, whose result goes to stderr', async () => {
    expect(await inShell('{} 2>/dev/full', await wordsOf('-o dump'), oldBin)).toMatchObject({ status: 3 });
  });
});

describe('a reader that goes away', () => {
  it('ends what only shows something, quietly', async () => {
    const listBackups = serverStream(async function* () {
      for (;;) {
        yield chainOf(backupOf());
        await new Promise(setImmediate);
      }
    });
    const agent = await agentForTest({ methods: { listBackups } });
    expect(await on('{} | head -n 1 >/dev/null', agent, 'list', '--json')).toMatchObject({ status: 0, stderr: '' });
    const states = [jobOf(queued), ...Array.from({ length: 500 }, (_, at) => jobOf(running(BigInt(at))))];
    const watched = await agentForTest({ states, stateIntervalMs: 1 });
    expect(await on('{} | head -n 1 >/dev/null', watched, 'job', 'watch', 'x', '--json')).toMatchObject({ status: 0 });
    expect(await on('{} | true', agent, '--help')).toMatchObject({ status: 0, stderr: '' });
  });

  it('does not break off a deletion', async () => {
    let told = 0;
    const deleteBackups = serverStream(async function* () {
      for (; told < 300; told += 1) {
        yield { event: { $case: 'deleted' as const, value: `${backupId}${told}` }, trashedUntilMs: 0n };
        await new Promise(setImmediate);
      }
    });
    const agent = await agentForTest({ methods: { deleteBackups } });
    expect(await on('{} | true', agent, 'delete', backupId)).toMatchObject({ status: 0, stderr: '' });
    expect(told).toBe(300);
  });

  it('leaves a job its status', async () => {
    const states = [jobOf(queued), jobOf(cancelled)];
    expect(await on('{} | true', await agentForTest({ states }), 'backup', 'rbd/vm1', '--json')).toMatchObject({
      status: 130,
    });
    expect(await on('{} | true', await agentForTest(), 'backup', 'rbd/vm1')).toMatchObject({ status: 0, stderr: '' });
  });
});
