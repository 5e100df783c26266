import { spawn, spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import {
  agentForTest,
  backupId,
  backupOf,
  chainOf,
  committed,
  jobOf,
  running,
  serverStream,
  streamOf,
  type FakeAgent,
} from '../../test/fake-agent.js';
import { bin, runCli, runProcess } from '../../test/run-cli.js';
import { splitLine } from './split-line.js';

const secondId = backupId.replace('22:40:43', '23:40:43');
const other = 'rbd2/db.2026-11-24.10:00:00.000000.bkp.image';
const otherId = `${other}@2026-11-24.10:00:00.000000.snap`;
const otherChain = () => {
  const made = chainOf(backupOf({ id: otherId }));
  return { ...made, chain: made.chain && { ...made.chain, name: other.slice('rbd2/'.length) } };
};

const agentWithBackups = (more: NonNullable<Parameters<typeof agentForTest>[0]>['states'] = []) =>
  agentForTest({
    states: [
      ...more,
      jobOf(committed(), { id: 'aaa', backupId: secondId }),
      jobOf(running(1n), { id: 'bbb', image: 'rbd/ns/web' }),
    ],
    methods: { listBackups: streamOf(chainOf(backupOf(), backupOf({ id: secondId })), otherChain()) },
  });

describe('splitLine', () => {
  it.each([
    ['', [], '', ''],
    ['rbdferry ', ['rbdferry'], '', ''],
    ['rbdferry  job\tsh', ['rbdferry', 'job'], 'sh', ''],
    [`a 'b c' "d \\" e"`, ['a', 'b c'], 'd " e', ''],
    [`a 'b c`, ['a'], 'b c', "'"],
    [`a b\\ c`, ['a'], 'b c', ''],
    [`a "'`, ['a'], "'", '"'],
    [`a '' b`, ['a', ''], 'b', ''],
  ])('%j', (line, before, current, quote) => {
    expect(splitLine(line)).toMatchObject({ before, current, quote });
  });

  it('tells which characters are escaped', () => {
    expect(splitLine(`x a\\:'b'c`)).toMatchObject({ current: 'a:bc', escaped: [false, true, true, false] });
  });
});

/** What `__complete` answers to a line with the cursor at its end. */
const complete = async (
  { socket }: Pick<FakeAgent, 'socket'>,
  line: string,
  { breaks = '', run = runCli }: { breaks?: string; run?: typeof runCli | typeof runProcess } = {},
): Promise<string[]> => {
  const args = ['__complete', '--shell', 'bash', '--line', line, '--breaks', breaks];
  const { status, stdout, stderr } = await run(args, { RBDFERRY_SOCKET: socket });
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  return stdout.split('\n').filter((each) => each !== '');
};

describe('without an agent', () => {
  const nowhere = { socket: '/nowhere' };
  it.each([
    ['rbdferry ba', ['backup']],
    ['rbdferry job ', ['show', 'watch', 'wait', 'cancel', 'help']],
    ['rbdferry --socket /x job c', ['cancel']],
    ['rbdferry help de', ['delete']],
    ['rbdferry backup rbd/x --mo', ['--mode']],
    ['rbdferry backup rbd/x --mode ', ['full', 'incr', 'auto']],
    ['rbdferry backup --mode=i', ['--mode=incr']],
    ['rbdferry backup --mode full --s', ['--store', '--socket']],
    ['rbdferry backup -- --mo', []],
    ['rbdferry completion f', ['fish']],
    ['rbdferry pki init --dir ', [':files']],
    ['rbdferry pki init --days ', []],
    ['rbdferry version ', []],
    ['rbdferry nonsense ', []],
    ['rbdferry restore ', []],
    ['rbdferry cancel ', []],
  ])('%s', async (line, words) => {
    expect(await complete(nowhere, line)).toEqual(words);
  });

  it('hidden verbs stay hidden', async () => {
    expect(await complete(nowhere, 'rbdferry _')).toEqual([]);
    expect((await runCli(['--help'])).stdout).not.toContain('__complete');
  });
});

describe('with an agent', () => {
  it.each([
    ['rbdferry restore rbd2/v', [backupId, secondId]],
    ['rbdferry delete rbd2/db', [otherId]],
    ['rbdferry delete rbd2/db.x rbd2/db', [otherId]],
    ['rbdferry delete --keep-last 3 ', ['rbd/vm1', 'rbd/ns/web']],
    ['rbdferry delete --chain rbd2/d', [other]],
    ['rbdferry du rbd/', ['rbd/vm1']],
    ['rbdferry du ', ['rbd/vm1', 'rbd/ns/web', backupId, secondId, otherId]],
    ['rbdferry backup rbd/n', ['rbd/ns/web']],
    ['rbdferry restore x --to rbd/v', ['rbd/vm1']],
    ['rbdferry job show ', ['aaa', 'bbb']],
    ['rbdferry backup rbd/vm1 --receiver ', ['dr']],
    ['rbdferry backup rbd/vm1 --receiver dr --store ', ['rbd2']],
    ['rbdferry backup rbd/vm1 --receiver far --store ', []],
  ])('%s', async (line, words) => {
    expect(new Set(await complete(await agentWithBackups(), line))).toEqual(
      new Set(line.endsWith('rbd/') ? [...words, 'rbd/ns/web'] : words),
    );
  });

  it('looks where the line says', async () => {
    const agent = await agentWithBackups();
    const asked = () => agent.calls.find(({ method }) => method === 'listBackups')?.request;
    await complete(agent, 'rbdferry restore --receiver far cold/');
    expect(asked()).toEqual({ receiver: 'far', store: 'cold', image: '' });
    await complete(agent, 'rbdferry cancel ');
    expect(agent.calls.at(-1)).toMatchObject({ method: 'listJobs', request: { activeOnly: true } });
    expect(await complete({ socket: '/nowhere' }, `rbdferry --socket ${agent.socket} job show a`)).toEqual(['aaa']);
  });

  it('leaves out what the shell takes for words of their own', async () => {
    const agent = await agentWithBackups();
    const bashBreaks = ' \t\n"\'@><=;|&(:';
    expect(await complete(agent, 'rbdferry restore rbd2/vm1.2026-11-24.10:4', { breaks: bashBreaks })).toEqual(
      [backupId, secondId].map((id) => id.slice('rbd2/vm1.2026-11-24.10:'.length)),
    );
    expect(await complete(agent, `rbdferry restore '${backupId.slice(0, 30)}`, { breaks: ':@' })).toEqual([
      backupId,
      secondId,
    ]);
    expect(await complete(agent, 'rbdferry backup --mode=f', { breaks: ':=@' })).toEqual(['full']);
  });

  it('puts odd names as bash must read them', async () => {
    const image = `rbd/vm (1) "x" #2's`;
    const agent = await agentForTest({ states: [jobOf(running(1n), { id: 'b', image })] });
    const bashBreaks = ' \t\n"\'@><=;|&(:';
    const bare = String.raw`rbd/vm\ \(1\)\ \"x\"\ \#2\'s`;
    expect(await complete(agent, 'rbdferry backup rbd/v', { breaks: bashBreaks })).toContain(bare);
    expect(await complete(agent, String.raw`rbdferry backup rbd/vm\ \(1`, { breaks: bashBreaks })).toEqual([bare]);
    expect(await complete(agent, `rbdferry backup 'rbd/vm (`, { breaks: bashBreaks })).toEqual([
      image.replace("'", String.raw`'\''`),
    ]);
    expect(await complete(agent, `rbdferry backup "rbd/vm (`, { breaks: bashBreaks })).toEqual([
      image.replaceAll('"', String.raw`\"`),
    ]);
  });

  it('says what they are to shells that show it', async () => {
    const { stdout } = await runCli(['__complete', '--shell', 'fish', '--', 'job', 'wait', ''], {
      RBDFERRY_SOCKET: (await agentWithBackups()).socket,
    });
    expect(stdout).toBe('aaa\tbackup rbd/vm1: committed, 1 GiB\nbbb\tbackup rbd/ns/web: transfer, 1 B, 100 MiB/s\n');
  });

  it('answers within its time when the agent does not, with what it knows', async () => {
    const agent = await agentForTest({
      states: [jobOf(committed(), { backupId: secondId })],
      methods: {
        listBackups: serverStream(async function* () {
          yield chainOf(backupOf());
          await new Promise(() => {});
        }),
      },
    });
    expect(await complete(agent, 'rbdferry restore ')).toEqual([backupId, secondId]);
    const mute = await agentForTest({ methods: { getAgentInfo: () => {}, listJobs: () => {} } });
    // Its process ends too, though a call is still open.
    expect(await complete(mute, 'rbdferry restore ', { run: runProcess })).toEqual([]);
  });
});

/** A directory with the command as `rbdferry`, to be put into PATH. */
const commandDirectory = (): string => {
  const dir = mkdtempSync(join(tmpdir(), 'rbdferry-completion-'));
  onTestFinished(() => {
    rmSync(dir, { recursive: true, force: true });
  });
  writeFileSync(join(dir, 'rbdferry'), `#!/bin/sh\nexec '${process.execPath}' '${bin}' "$@"\n`);
  chmodSync(join(dir, 'rbdferry'), 0o755);
  return dir;
};

const runShell = (
  command: readonly [string, ...string[]],
  env: Record<string, string>,
  input = '',
): Promise<{ stdout: string; stderr: string }> =>
  new Promise((resolve) => {
    const [program, ...args] = command;
    const PATH = `${commandDirectory()}:${process.env['PATH'] ?? ''}`;
    const child = spawn(program, args, { env: { HOME: tmpdir(), TERM: 'dumb', PATH, ...env } });
    const texts = { stdout: '', stderr: '' };
    for (const name of ['stdout', 'stderr'] as const) child[name].on('data', (data) => (texts[name] += String(data)));
    child.on('close', () => {
      resolve(texts);
    });
    child.stdin.end(input);
  });

const has = (shell: string): boolean => spawnSync(shell, ['-c', 'exit 0']).status === 0;

describe('in bash', () => {
  /** For each line: sets what readline sets, calls what `complete` registered, and prints the answer. */
  const inBash = async (agent: FakeAgent, ...lines: string[]): Promise<string[][]> => {
    const script = `
source <(rbdferry completion bash)
[[ $(complete -p rbdferry) == 'complete -F _rbdferry rbdferry' ]] || exit 1
for COMP_LINE in "$@"; do
  COMP_POINT=\${#COMP_LINE}
  _rbdferry rbdferry
  printf '%s\\n' "\${COMPREPLY[@]}" ''
done`;
    const command = ['bash', '--norc', '-c', script, 'bash', ...lines] as const;
    const { stdout, stderr } = await runShell(command, { RBDFERRY_SOCKET: agent.socket });
    expect(stderr).toBe('');
    return stdout
      .split(/\n\n/)
      .slice(0, -1)
      .map((answer) => answer.split('\n'));
  };

  it('completes verbs, and ids behind their last break', async () => {
    const typed = backupId.slice(0, backupId.indexOf('@') + 3);
    const lines = ['rbdferry res', 'rbdferry restore rbd2/v', `rbdferry restore ${typed}`];
    expect(await inBash(await agentWithBackups(), ...lines)).toEqual([
      ['restore'],
      [backupId, secondId],
      [backupId, secondId].map((id) => id.slice(id.indexOf('@'))),
    ]);
  });

  it('completes on a terminal, where readline has its own idea of words', async () => {
    const odd = `odd/vm (1) "x" #2's`;
    const agent = await agentWithBackups([jobOf(running(1n), { id: 'odd', image: odd })]);
    const typed = backupId.slice(0, backupId.indexOf('@') + 1);
    const dir = commandDirectory();
    const rc = join(dir, 'rc');
    // `show` is completed as `rbdferry` is, and tells what the line became.
    writeFileSync(
      rc,
      `PS1='ready '
bind 'set enable-bracketed-paste off'
stty cols 400
source <(rbdferry completion bash)
of_show() { _rbdferry rbdferry; }
complete -F of_show show
show() { echo "GOT<$*>"; }
`,
    );
    const child = spawn('script', ['-qfec', `bash --rcfile ${rc} -i`, '/dev/null'], {
      env: { HOME: dir, TERM: 'dumb', PATH: `${dir}:${process.env['PATH'] ?? ''}`, RBDFERRY_SOCKET: agent.socket },
      stdio: ['pipe', 'pipe', 'ignore'],
    });
    let seen = '';
    child.stdout.on('data', (data) => (seen += String(data)));
    const sees = async (words: string) => {
      const until = performance.now() + 30_000;
      while (!seen.includes(words)) {
        if (performance.now() > until) throw new Error(`no ${words} in ${JSON.stringify(seen)}`);
        await new Promise((go) => setTimeout(go, 20));
      }
    };
    await sees('ready ');
    child.stdin.write(`show restore ${typed}2026-11-24.23\t`);
    await sees(secondId.slice(secondId.indexOf('@') + 1));
    child.stdin.write('\n');
    await sees(`GOT<restore ${secondId}>`);
    for (const begin of ['odd/v', String.raw`odd/vm\ \(`, `'odd/vm (`, `"odd/vm (`]) {
      seen = '';
      child.stdin.write(`show backup ${begin}\t`);
      await sees('2');
      child.stdin.write('\n');
      await sees(`GOT<backup ${odd}>`);
    }
    child.stdin.end('exit\n');
    await new Promise((resolve) => child.on('close', resolve));
  }, 60_000);
});

describe.runIf(has('zsh'))('in zsh', () => {
  it('loads, and asks for the words before the cursor', async () => {
    const agent = await agentWithBackups();
    const script = `
compdef() { echo "compdef $*" }
compadd() { printf '%s\\n' "\${values[@]}" }
source <(rbdferry completion zsh)
words=(rbdferry restore 'rbd2/v') CURRENT=3 PREFIX='rbd2/v'
_rbdferry`;
    const { stdout, stderr } = await runShell(['zsh', '-f', '-c', script], { RBDFERRY_SOCKET: agent.socket });
    expect(stderr).toBe('');
    expect(stdout.trimEnd().split('\n')).toEqual(['compdef _rbdferry rbdferry', backupId, secondId]);
  });
});

describe.runIf(has('fish'))('in fish', () => {
  it('completes verbs and ids', async () => {
    const agent = await agentWithBackups();
    const script = `rbdferry completion fish | source
complete -C 'rbdferry res'
complete -C 'rbdferry restore rbd2/v'`;
    const { stdout } = await runShell(['fish', '--no-config', '-c', script], { RBDFERRY_SOCKET: agent.socket });
    expect(stdout.trimEnd().split('\n')).toEqual([
      'restore\trestore a backup',
      `${backupId}\tfull of 1 GiB`,
      `${secondId}\tfull of 1 GiB`,
    ]);
  });
});
