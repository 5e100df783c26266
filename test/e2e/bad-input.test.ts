import { copyFile, open, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { runCli, runDaemonToEnd, startDaemon, type Daemon } from '../harness/daemon.js';
import { expectError } from '../harness/expect-error.js';
import { startPair, type Pair } from '../harness/pair.js';
import { imageNames, snapNames } from '../harness/look.js';

/** Mistakes as Ceph words them, and what is a process's own: its output, signals, locks and end. All others: test/house. */
let pair: Pair;

beforeAll(async () => {
  pair = await startPair({ name: 'bad' });
  await pair.source.rbd(['create', '--size', '8M', 'rbd/vm1']);
});

afterAll(async () => {
  await pair?.stop();
});

describe('what does not exist', () => {
  it.each<[string, string[], string, number, string]>([
    ['image', ['backup', 'rbd/none'], 'IMAGE_NOT_FOUND', 20, 'rbd/none'],
    ['pool', ['backup', 'nopool/vm1'], 'POOL_NOT_FOUND', 21, 'nopool'],
    ['namespace', ['backup', 'rbd/nons/vm1'], 'NAMESPACE_NOT_FOUND', 26, 'nons'],
  ])('%s', async (_, args, code, exit, words) => {
    expectError(await pair.cli(...args), code, exit, words);
  });

  it('leaves nothing', async () => {
    expect(await snapNames(pair.source, 'rbd/vm1')).toEqual([]);
    expect(await imageNames(pair.backup, 'rbd2')).toEqual([]);
    expect(await imageNames(pair.source, 'rbd')).toEqual(['vm1']);
  });
});

it('a result that cannot be written', async () => {
  const full = await open('/dev/full', 'w');
  const result = await runCli(['version'], { stdout: full.createWriteStream({ autoClose: false }) });
  await full.close();
  expectError(result, 'OUTPUT_FAILED', 3, 'ENOSPC');
});

describe('what is wrong at the start', () => {
  it('a keyring that is not there, comes, and goes again', async () => {
    const keyring = join(pair.dir, 'later.keyring');
    const theirs = await readFile(pair.agentConfig, 'utf8');
    const [, given = ''] = /keyring: ([^ ,}]+)/.exec(theirs) ?? [];
    const yaml = theirs.replace(given, keyring);
    const own = yaml
      .replace(/^socket:.*$/m, `socket: ${join(pair.dir, 'unwell.sock')}`)
      .replace(/^state:.*$/m, `state: ${join(pair.dir, 'unwell')}`);
    const config = join(pair.dir, 'unwell.yaml');
    await writeFile(config, own);
    const daemon = await startDaemon('rbdferry-agent', config);
    try {
      const trouble = { level: 'error', what: 'cluster', code: expect.stringMatching(/^CEPH_/) };
      expect(await daemon.waitFor('not well')).toMatchObject(trouble);
      await copyFile(given, keyring);
      expect(await daemon.waitFor('well again')).toMatchObject({ what: 'cluster' });
      await rm(keyring);
      // Looks at once, as it does every minute.
      process.kill(daemon.pid, 'SIGHUP');
      const troubles = () => daemon.records.filter(({ msg, what }) => msg === 'not well' && what === 'cluster');
      await vi.waitUntil(() => troubles().length > 1, { timeout: 20_000 });
    } finally {
      await daemon.stop();
    }
  });
});

describe('SIGHUP', () => {
  /** Waits until the daemon has said one more time how reading its configuration anew went. */
  const reload = async (daemon: Daemon): Promise<Record<string, unknown>[]> => {
    const told = () =>
      daemon.records.filter(({ msg }) => /^configuration read anew|^the configuration cannot/.test(String(msg)));
    const before = told().length;
    const from = daemon.records.length;
    process.kill(daemon.pid, 'SIGHUP');
    await vi.waitUntil(() => told().length > before, { timeout: 20_000 });
    // The record of what needs a restart comes right after.
    await new Promise((resolve) => setTimeout(resolve, 50));
    return daemon.records.slice(from);
  };

  it('leaves a daemon as it was when its new file is bad, and says what a restart would change', async () => {
    const yaml = await readFile(pair.agentConfig, 'utf8');
    try {
      await writeFile(pair.agentConfig, `${yaml}\nnonsense: 1\n`);
      expect(await reload(pair.agent)).toContainEqual(
        expect.objectContaining({ level: 'error', code: 'CONFIG_INVALID', error: expect.stringContaining('nonsense') }),
      );
      await writeFile(pair.agentConfig, yaml.replace('dr:', 'elsewhere:').replace(/^state:.*$/m, 'state: /nowhere'));
      expect(await reload(pair.agent)).toContainEqual(
        expect.objectContaining({ level: 'warn', msg: 'needs a restart: state' }),
      );
      expectError(await pair.cli('list', '--receiver', 'dr'), 'RECEIVER_NOT_FOUND', 23, 'dr');
    } finally {
      await writeFile(pair.agentConfig, yaml);
      await reload(pair.agent);
    }
    expect(await pair.ok('list', '--json')).toContain('[');
  });
});

describe('configuration files', () => {
  it('an unknown key, with line and column: told by a daemon that ends', async () => {
    const config = join(pair.dir, 'broken.yaml');
    await writeFile(config, `${await readFile(pair.agentConfig, 'utf8')}\nrecievers: {}\n`);
    const end = await runDaemonToEnd('rbdferry-agent', config);
    expectError(end, 'CONFIG_INVALID', 13, 'recievers');
    expect(end.stderr).toMatch(/broken\.yaml:\d+:1: /);
  });

  it('a second agent on a state directory, also one with a socket of its own', async () => {
    const config = join(pair.dir, 'twin.yaml');
    await writeFile(
      config,
      (await readFile(pair.agentConfig, 'utf8')).replace(/^socket:.*$/m, `socket: ${join(pair.dir, 'twin.sock')}`),
    );
    expectError(await runDaemonToEnd('rbdferry-agent', config), 'STATE_LOCKED', 15, join(pair.dir, 'state'));
    await pair.agent.kill();
    await pair.startAgent();
    expect(await pair.ok('jobs', '--json')).toContain('[');
  });
});
