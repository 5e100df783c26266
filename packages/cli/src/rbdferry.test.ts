import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FerryError } from '@rbdferry/core/errors/ferry-error.js';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import {
  backupId,
  backupOf,
  cancelled,
  chainOf,
  committed,
  failed,
  jobOf,
  queued,
  running,
  serverStream,
  startFakeAgent,
  unary,
  type FakeAgent,
  streamOf,
  unreadableChain,
} from '../test/fake-agent.js';
import { bin, runCli, runProcess, startCli } from '../test/run-cli.js';

/** The command, in this process or in one of its own, against a real gRPC server that plays the agent. */

const opened: { stop(): Promise<void> }[] = [];
afterEach(async () => {
  for (const each of opened.splice(0)) await each.stop();
});

const agentWith = async (...options: Parameters<typeof startFakeAgent>): Promise<FakeAgent> => {
  const agent = await startFakeAgent(...options);
  opened.push(agent);
  return agent;
};

const on = ({ socket }: { socket: string }, ...args: string[]) => runCli(['--socket', socket, ...args]);

describe('a process of its own', () => {
  it('prints what came of it, and ends with its status', async () => {
    const agent = await agentWith();
    expect(await runProcess(['backup', 'rbd/vm1'], { RBDFERRY_SOCKET: agent.socket })).toMatchObject({
      status: 0,
      stdout: `${backupId}\n`,
      stderr: '',
    });
    const states = [jobOf(queued), jobOf(failed('NO_CHAIN', 'there is none', 'make one'))];
    expect(
      await runProcess(['--socket', (await agentWith({ states })).socket, 'backup', 'rbd/vm1', '--json']),
    ).toMatchObject({ status: 30, stderr: 'rbdferry: NO_CHAIN: there is none\nhint: make one\n' });
  });
});

describe('backup', () => {
  it('prints only the id', async () => {
    const agent = await agentWith({ states: [jobOf(queued), jobOf(running(5n, 10n)), jobOf(committed())] });
    expect(await on(agent, 'backup', 'rbd/vm1')).toMatchObject({ status: 0, stdout: `${backupId}\n`, stderr: '' });
    expect(agent.calls).toMatchObject([
      { method: 'startBackup', request: { image: 'rbd/vm1', mode: 1, receiver: '', store: '' } },
      { method: 'watchJob', request: { jobId: 'k3v9x2m7qa' } },
    ]);
  });

  it('passes its options on, and finds the socket in the environment', async () => {
    const agent = await agentWith();
    const args = ['backup', 'rbd/ns/vm1', '--mode', 'incr', '--receiver', 'far', '--store', 'cold'];
    args.push('--limit', '50MiB/s');
    expect(await runCli(args, { RBDFERRY_SOCKET: agent.socket })).toMatchObject({ status: 0 });
    expect(agent.calls[0]?.request).toMatchObject({
      image: 'rbd/ns/vm1',
      mode: 3,
      receiver: 'far',
      store: 'cold',
      limitBytesPerSecond: 52_428_800n,
    });
  });

  it('prints the ended job with --json', async () => {
    const { stdout, stderr } = await on(await agentWith(), 'backup', 'rbd/vm1', '--json');
    expect(stderr).toBe('');
    expect(stdout.trimEnd()).not.toContain('\n');
    expect(JSON.parse(stdout)).toMatchObject({ state: 'committed', backupId, streamBytes: 1_073_741_824 });
  });

  it('puts warnings on stderr', async () => {
    const agent = await agentWith({ states: [jobOf(committed('the clone is flat', 'second'))] });
    expect(await on(agent, 'backup', 'rbd/vm1')).toMatchObject({
      status: 0,
      stdout: `${backupId}\n`,
      stderr: 'warning: the clone is flat\nwarning: second\n',
    });
  });

  const failure = failed('NO_CHAIN', 'there is no chain of "rbd/vm1"', 'make a full backup first');
  const words = 'rbdferry: NO_CHAIN: there is no chain of "rbd/vm1"\nhint: make a full backup first\n';

  it("tells a job's failure, with its exit status", async () => {
    const agent = await agentWith({ states: [jobOf(queued), jobOf(failure)] });
    expect(await on(agent, 'backup', 'rbd/vm1')).toMatchObject({ status: 30, stdout: '', stderr: words });
    const { status, stdout, stderr } = await on(agent, 'backup', 'rbd/vm1', '--json');
    expect(JSON.parse(stdout)).toMatchObject({ state: 'failed', error: { code: 'NO_CHAIN' } });
    expect({ status, stderr }).toEqual({ status: 30, stderr: words });
  });

  it("tells the agent's refusal", async () => {
    const refuse = unary(() =>
      Promise.reject(new FerryError('RECEIVER_NOT_FOUND', 'no receiver "far"', { hint: 'it has: dr' })),
    );
    expect(await on(await agentWith({ methods: { startBackup: refuse } }), 'backup', 'rbd/vm1')).toMatchObject({
      status: 23,
      stdout: '',
      stderr: 'rbdferry: RECEIVER_NOT_FOUND: no receiver "far"\nhint: it has: dr\n',
    });
  });

  it('that somebody else cancels is an error', async () => {
    const agent = await agentWith({ states: [jobOf(queued), jobOf(cancelled)] });
    const { status, stderr } = await on(agent, 'backup', 'rbd/vm1');
    expect(status).toBe(130);
    expect(stderr).toMatch(/^rbdferry: CANCELLED: job k3v9x2m7qa was cancelled\nhint: /);
  });
});

describe('restore', () => {
  it('prints the restored image', async () => {
    const agent = await agentWith({
      states: [jobOf(queued, { kind: 2, image: '' }), jobOf(committed(), { kind: 2, image: 'rbd/vm2' })],
    });
    expect(await on(agent, 'restore', backupId, '--to', 'rbd/vm2', '--replace', '--limit', '400Mbit/s')).toMatchObject({
      status: 0,
      stdout: 'rbd/vm2\n',
      stderr: '',
    });
    expect(agent.calls[0]?.request).toMatchObject({
      backupId,
      to: 'rbd/vm2',
      replace: true,
      receiver: '',
      limitBytesPerSecond: 50_000_000n,
    });
  });
});

describe('Ctrl-C', () => {
  /** An agent whose job runs until it is cancelled, and then ends like this. */
  const endless = async (end = jobOf(cancelled), answer: 'answers' | 'never answers' = 'answers') =>
    agentWith({
      methods: {
        startBackup: unary(() => Promise.resolve({ job: jobOf(queued) })),
        watchJob: serverStream(async function* (_, { signal }) {
          yield { job: jobOf(running(1n)) };
          await new Promise((resolve) => {
            signal.addEventListener('abort', resolve);
          });
        }),
        getJob: unary(() => Promise.resolve({ job: jobOf(running(1n)) })),
        cancelJob: unary(() => (answer === 'answers' ? Promise.resolve({ job: end }) : new Promise(() => {}))),
      },
    });

  const watched = async (agent: FakeAgent): Promise<void> => {
    while (!agent.calls.some(({ method }) => method === 'watchJob')) await new Promise((go) => setTimeout(go, 5));
  };

  it.each(['SIGINT', 'SIGTERM'] as const)('(%s) cancels the job and waits for its end', async (signal) => {
    const agent = await endless();
    const cli = startCli(['--socket', agent.socket, 'backup', 'rbd/vm1']);
    await watched(agent);
    cli.kill(signal);
    const end = await cli.ended;
    expect(end).toMatchObject({ status: 130, stdout: '' });
    expect(end.stderr).toMatch(/^cancelling job k3v9x2m7qa.*\ncancelled\n$/);
    expect(agent.calls.at(-1)).toMatchObject({ method: 'cancelJob', request: { jobId: 'k3v9x2m7qa' } });
  });

  it('that comes too late tells the truth', async () => {
    const agent = await endless(jobOf(committed()));
    const cli = startCli(['--socket', agent.socket, 'backup', 'rbd/vm1']);
    await watched(agent);
    cli.kill('SIGINT');
    const end = await cli.ended;
    expect(end).toMatchObject({ status: 0, stdout: `${backupId}\n` });
    expect(end.stderr).toContain('had committed before');
  });

  it('pressed twice leaves at once', async () => {
    const agent = await endless(jobOf(cancelled), 'never answers');
    const cli = startCli(['--socket', agent.socket, 'backup', 'rbd/vm1']);
    await watched(agent);
    cli.kill('SIGINT');
    await cli.said('cancelling job');
    cli.kill('SIGINT');
    const end = await cli.ended;
    expect(end).toMatchObject({ status: 130, stdout: '' });
    expect(end.stderr).toContain(
      'leaving before job k3v9x2m7qa has ended; look what becomes of it: rbdferry job show k3v9x2m7qa',
    );
    expect(agent.calls.at(-1)?.method).toBe('cancelJob');
  });

  it('before the agent has answered cancels the job as soon as it is known', async () => {
    let answer: (value: { job: ReturnType<typeof jobOf> }) => void = () => {};
    const agent = await agentWith({
      methods: {
        startBackup: unary(() => new Promise((resolve) => (answer = resolve))),
        cancelJob: unary(() => Promise.resolve({ job: jobOf(cancelled) })),
      },
    });
    const cli = startCli(['--socket', agent.socket, 'backup', 'rbd/vm1']);
    while (agent.calls.length === 0) await new Promise((go) => setTimeout(go, 5));
    cli.kill('SIGINT');
    await new Promise((go) => setTimeout(go, 100));
    answer({ job: jobOf(queued) });
    expect(await cli.ended).toMatchObject({ status: 130 });
    expect(agent.calls.map(({ method }) => method)).toEqual(['startBackup', 'cancelJob']);
  });

  it('while only watching does not touch the job', async () => {
    const agent = await endless();
    const cli = startCli(['--socket', agent.socket, 'job', 'watch', 'k3v9x2m7qa']);
    await watched(agent);
    cli.kill('SIGINT');
    const { status, signal } = await cli.ended;
    expect(status ?? signal).toBe('SIGINT');
    expect(agent.calls.map(({ method }) => method)).not.toContain('cancelJob');
  });
});

describe('an agent that', () => {
  const temporary = (): string => {
    const directory = mkdtempSync(join(tmpdir(), 'rbdferry-cli-'));
    opened.push({
      stop: () => {
        rmSync(directory, { recursive: true, force: true });
        return Promise.resolve();
      },
    });
    return directory;
  };

  it.each([['backup', 'rbd/vm1'], ['list'], ['jobs'], ['job', 'watch', 'x'], ['job', 'wait', 'x'], ['cancel', 'x']])(
    'does not run: %s',
    async (...args) => {
      const socket = join(temporary(), 'none.sock');
      const { status, stdout, stderr } = await on({ socket }, ...args);
      expect({ status, stdout }).toEqual({ status: 40, stdout: '' });
      expect(stderr).toMatch(/^rbdferry: AGENT_UNREACHABLE: there is no socket .*none\.sock"\nhint: /);
    },
  );

  it('left its socket behind', async () => {
    const socket = join(temporary(), 'file');
    writeFileSync(socket, '');
    const { status, stderr } = await on({ socket }, 'jobs');
    expect(status).toBe(40);
    expect(stderr).toMatch(/nobody listens on the socket ".*file"/);
  });

  it('accepts and says nothing does not make `version` hang', async () => {
    const socket = join(temporary(), 'mute.sock');
    const connections: Socket[] = [];
    const mute = createServer((connection) => connections.push(connection)).listen(socket);
    const end = await runProcess(['--socket', socket, 'version']);
    mute.close();
    for (const connection of connections) connection.destroy();
    expect(end.status).toBe(0);
    expect(end.stderr).toContain('did not answer within 2 s');
  });

  it('dies while a job is watched', async () => {
    const agent = await agentWith({
      states: [jobOf(queued), jobOf(running(1n)), jobOf(committed())],
      stateIntervalMs: 3_600_000,
    });
    const cli = startCli(['--socket', agent.socket, 'backup', 'rbd/vm1']);
    while (agent.calls.length < 2) await new Promise((go) => setTimeout(go, 5));
    await new Promise((go) => setTimeout(go, 50));
    agent.die();
    const { status, stdout, stderr } = await cli.ended;
    expect({ status, stdout }).toEqual({ status: 72, stdout: '' });
    expect(stderr).toContain('CONNECTION_LOST');
    expect(stderr).toContain('the job goes on if the agent still runs; if it was stopped');
  });

  it('ends a watch before the job has ended is no success', async () => {
    const agent = await agentWith({ states: [jobOf(running(1n))] });
    const { status, stderr } = await on(agent, 'backup', 'rbd/vm1');
    expect(status).toBe(72);
    expect(stderr).toContain('stopped telling');
  });
});

describe('list', () => {
  const many = 3000;
  const large = () =>
    agentWith({
      methods: {
        listBackups: serverStream(async function* () {
          for (let index = 0; index < many; index += 1) yield chainOf(backupOf(), backupOf());
        }),
      },
    });

  it('prints JSON, a chain a line, however many', async () => {
    const { status, stdout } = await on(await large(), 'list', '--json');
    expect(status).toBe(0);
    expect(stdout.trimEnd().split('\n').length).toBe(many);
    expect(JSON.parse(stdout)).toHaveLength(many);
  });

  it('ends quietly when its reader has enough', async () => {
    const agent = await large();
    for (const args of [['list'], ['list', '--json']]) {
      const child = spawn('sh', [
        '-c',
        `"$0" "$@" | head -n 3`,
        process.execPath,
        bin,
        '--socket',
        agent.socket,
        ...args,
      ]);
      let stderr = '';
      child.stderr.on('data', (data) => (stderr += String(data)));
      await new Promise((resolve) => child.on('close', resolve));
      expect(stderr).toBe('');
    }
  });

  it('prints tables without colours, and passes the filter on', async () => {
    const agent = await agentWith();
    const { stdout } = await on(agent, 'list', 'rbd/vm1', '--store', 'rbd2', '--receiver', 'dr');
    expect(stdout).toContain(backupId);
    expect(stdout).not.toContain('\u001b');
    expect(agent.calls.at(-1)?.request).toEqual({ receiver: 'dr', store: 'rbd2', image: 'rbd/vm1' });
  });

  it('says what could not be looked at, and lists the rest', async () => {
    const listed = { ...chainOf(backupOf()), presentOnSource: [], sourceUnknown: 'the cluster is away' };
    const missing = { ...listed, chain: undefined, sourceUnknown: '', unreadable: unreadableChain };
    const agent = await agentWith({ methods: { listBackups: streamOf(listed, missing) } });
    const { status, stdout, stderr } = await on(agent, 'list', '--json');
    expect(status).toBe(0);
    expect(stderr).toContain(`${unreadableChain.name} is left out, it cannot be read: CEPH_PERMISSION`);
    expect(stderr).toContain('not known which snapshots are still on the source: the cluster is away');
    expect(JSON.parse(stdout)).toMatchObject([
      { sourceUnknown: 'the cluster is away', error: null, backups: [{ presentOnSource: null }] },
      { name: unreadableChain.name, backups: [], error: { code: 'CEPH_PERMISSION' } },
    ]);
    const table = (await on(agent, 'list')).stdout;
    expect(table).toMatch(/ \? +[0-9a-f]{8} +rbd2\//);
    expect(table).not.toContain(unreadableChain.name);
  });

  it('of nothing says so on stderr', async () => {
    const agent = await agentWith({ methods: { listBackups: serverStream(async function* () {}) } });
    expect(await on(agent, 'list', 'rbd/vm1')).toMatchObject({
      status: 0,
      stdout: '',
      stderr: 'no backups of rbd/vm1\n',
    });
    expect(await on(agent, 'list', '--json')).toMatchObject({ status: 0, stdout: '[]\n', stderr: 'no backups\n' });
  });

  it('that breaks off fails, and its JSON does not pass for a whole', async () => {
    const agent = await agentWith({
      methods: {
        listBackups: serverStream(async function* () {
          yield chainOf(backupOf());
          await Promise.reject(new FerryError('RECEIVER_UNREACHABLE', 'receiver "dr" is gone'));
        }),
      },
    });
    const { status, stdout } = await on(agent, 'list', '--json');
    expect(status).toBe(41);
    expect(() => JSON.parse(stdout) as unknown).toThrow();
  });
});

describe('jobs', () => {
  it('lists them', async () => {
    const agent = await agentWith();
    expect((await on(agent, 'jobs', '--image', 'rbd/vm1', '--active', '--limit', '7')).stdout).toContain('k3v9x2m7qa');
    expect(agent.calls.at(-1)?.request).toEqual({ image: 'rbd/vm1', parentId: '', activeOnly: true, limit: 7 });
    expect(JSON.parse((await on(agent, 'jobs', '--json')).stdout)).toMatchObject([
      { state: 'queued' },
      { state: 'committed' },
    ]);
  });

  it('show: a job that failed is shown, and that is a success', async () => {
    const agent = await agentWith({ states: [jobOf(failed('NO_CHAIN', 'no chain', 'make one'))] });
    const { status, stdout } = await on(agent, 'job', 'show', 'k3v9x2m7qa');
    expect(status).toBe(0);
    expect(stdout).toContain('NO_CHAIN: no chain');
    expect(JSON.parse((await on(agent, 'job', 'show', 'x', '--json')).stdout)).toMatchObject({ state: 'failed' });
  });

  it('wait: ends as the job did', async () => {
    const good = await agentWith();
    expect(await on(good, 'job', 'wait', 'x')).toMatchObject({ status: 0, stdout: `${backupId}\n`, stderr: '' });
    const bad = await agentWith({ states: [jobOf(failed('CEPH_NO_SPACE', 'full', 'buy disks'))] });
    expect(await on(bad, 'job', 'wait', 'x')).toMatchObject({ status: 63, stdout: '' });
  });

  /** An agent that says of the job what its watch will say first, so that a watch is needed. */
  const watchable = (states = [jobOf(queued), jobOf(running(1n)), jobOf(running(2n)), jobOf(committed())]) =>
    agentWith({ states, methods: { getJob: unary(() => Promise.resolve({ job: states[0] })) } });

  it('watch: each state as a line of JSON', async () => {
    const { status, stdout, stderr } = await on(await watchable(), 'job', 'watch', 'x', '--json');
    const states = stdout
      .trimEnd()
      .split('\n')
      .map((line) => (JSON.parse(line) as { state: string }).state);
    expect({ status, stderr, states }).toEqual({
      status: 0,
      stderr: '',
      states: ['queued', 'running', 'running', 'committed'],
    });
  });

  it('watch: a line for each phase when there is no terminal', async () => {
    expect(await on(await watchable(), 'job', 'watch', 'x')).toMatchObject({
      status: 0,
      stdout: `${backupId}\n`,
      stderr: 'job k3v9x2m7qa: queued\njob k3v9x2m7qa: transfer, 1 B, 100 MiB/s\n',
    });
  });

  it.each([[['cancel']], [['job', 'cancel']]])('%s prints how the job ended', async (verb) => {
    const agent = await agentWith({ states: [jobOf(cancelled)] });
    expect(await on(agent, ...verb, 'k3v9x2m7qa')).toMatchObject({ status: 0, stdout: 'cancelled\n', stderr: '' });
    expect(agent.calls).toMatchObject([{ method: 'cancelJob', request: { jobId: 'k3v9x2m7qa' } }]);
  });

  it('that do not exist', async () => {
    const missing = unary(() => Promise.reject(new FerryError('JOB_NOT_FOUND', 'there is no job "x"')));
    const agent = await agentWith({ methods: { getJob: missing, cancelJob: missing } });
    for (const verb of [['job', 'show'], ['job', 'wait'], ['job', 'watch'], ['cancel']]) {
      const { status, stderr } = await on(agent, ...verb, 'x');
      expect(status).toBe(25);
      expect(stderr).toContain('JOB_NOT_FOUND: there is no job "x"');
    }
  });
});

describe('version', () => {
  it.each([['version'], ['--version'], ['-V']])('%s tells both', async (verb) => {
    expect((await on(await agentWith(), verb)).stdout).toMatch(
      /^command rbdferry\/\d+\S+\nagent {3}rbdferry\/9\.9\.9\n$/,
    );
  });

  it('as JSON, with the receivers', async () => {
    expect(JSON.parse((await on(await agentWith(), 'version', '--json')).stdout)).toMatchObject({
      agent: { software: 'rbdferry/9.9.9', receivers: [{ name: 'dr', defaultStore: 'rbd2' }] },
    });
    expect(JSON.parse((await on({ socket: '/nowhere' }, 'version', '--json')).stdout)).toMatchObject({ agent: null });
  });
});

describe('a wrong command line', () => {
  it.each([
    [['backup', '--', 'vm1'], 10, 'INVALID_IMAGE_SPEC'],
    [['backup', '--', ''], 10, 'INVALID_IMAGE_SPEC'],
    [['list', '--', 'rbd/vm\n1'], 10, 'INVALID_IMAGE_SPEC'],
    [['jobs', '--image', 'rbd/vm1@x'], 10, 'INVALID_IMAGE_SPEC'],
    [['restore', 'nonsense'], 11, 'INVALID_BACKUP_ID'],
    [['restore', backupId, '--to', 'vm1'], 10, 'INVALID_IMAGE_SPEC'],
    [['backup'], 2, 'say which images to back up'],
    [['backup', 'rbd/vm1', '--match', 'vm*'], 2, 'globs choose among the images of pools'],
    [['backup', '--pool', 'a/b/c'], 10, 'is not a pool'],
    [['backup', 'rbd/vm1', '--mode', 'half'], 2, 'full, incr, auto'],
    [['backup', 'rbd/vm1', '--nope'], 2, "unknown option '--nope'"],
    [['job', 'show', 'a', 'b'], 2, 'too many arguments'],
    [['backup', 'rbd/vm1', '--version'], 2, "unknown option '--version'"],
    [['jobs', '--limit', '0'], 2, 'whole number'],
    [['backup', 'rbd/vm1', '--limit', '50MiB'], 2, 'Expected a rate such as 50MiB/s'],
    [['backup', 'rbd/vm1', '--limit', '0'], 2, 'Expected a rate such as 50MiB/s'],
    [['restore', backupId, '--limit', '1/s'], 2, 'at least 1KiB/s'],
    [['bakcup'], 2, 'backup'],
    [['job'], 2, 'watch'],
    [[], 2, 'backup'],
  ])('%j', async (args, status, words) => {
    const end = await on({ socket: '/nowhere' }, ...args);
    expect(end).toMatchObject({ status, stdout: '' });
    expect(end.stderr).toContain(words);
  });

  it.each([
    [['backup']],
    [['restore']],
    [['list']],
    [['dump']],
    [['delete']],
    [['du']],
    [['report']],
    [['completion']],
    [['jobs']],
    [['job', 'show']],
    [['job', 'watch']],
    [['job', 'wait']],
    [['cancel']],
    [['pki', 'init']],
    [['pki', 'issue']],
    [['version']],
  ])('%j --help ends in examples', async (verb) => {
    const { status, stdout } = await runCli([...verb, '--help']);
    expect(status).toBe(0);
    expect(stdout).toMatch(new RegExp(`Examples?:\\n(  \\$ rbdferry ${verb.join(' ')}.*\\n)+$`));
  });
});

describe('pki', () => {
  it('makes an authority and certificates, and refuses to do it twice', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'rbdferry-pki-'));
    opened.push({
      stop: () => {
        rmSync(dir, { recursive: true, force: true });
        return Promise.resolve();
      },
    });
    expect(await runCli(['pki', 'init', '--dir', dir])).toMatchObject({ status: 0, stderr: '' });
    const issued = await runCli([
      'pki',
      'issue',
      'receiver',
      '--dir',
      dir,
      '--host',
      'a.example',
      '--host',
      '10.0.0.7',
      '--json',
    ]);
    expect(JSON.parse(issued.stdout)).toMatchObject({ certificatePath: join(dir, 'receiver.crt') });
    const again = await runCli(['pki', 'init', '--dir', dir]);
    expect(again).toMatchObject({ status: 12, stdout: '' });
    expect(again.stderr).toMatch(/^rbdferry: INVALID_REQUEST: .*\nhint: /);
  });
});

describe('on a terminal', () => {
  /** util-linux's `script` gives the command a terminal of its own. */
  const inTerminal = (command: string): Promise<string> =>
    new Promise((resolve) => {
      const child = spawn('script', ['-qfec', command, '/dev/null'], { stdio: ['ignore', 'pipe', 'inherit'] });
      let text = '';
      child.stdout.on('data', (data) => (text += String(data)));
      child.on('close', () => {
        resolve(text);
      });
    });

  it('a bar shows while the job runs, and only the id is left', async () => {
    const MiB = 1024n * 1024n;
    const states = [1n, 250n, 500n, 750n].map((done) => jobOf(running(done * MiB, 1000n * MiB)));
    const agent = await agentWith({ states: [...states, jobOf(committed())], stateIntervalMs: 250 });
    const seen = await inTerminal(`'${process.execPath}' '${bin}' --socket '${agent.socket}' backup rbd/vm1`);
    expect(seen).toContain('50%  500 MiB of 1000 MiB  100 MiB/s  ETA 5s');
    const [, last = ''] = /([^\r\n]*)\r\n$/.exec(seen) ?? [];
    expect(last).toBe(backupId);
    expect(seen).toContain('full backup: 1 GiB in 1m 2s\r\n');
  });
});

beforeAll(() => {
  expect(bin).toMatch(/packages\/cli\/bin\/rbdferry$/);
});
