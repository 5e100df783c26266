import { chmod, copyFile, open, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { applyWrites, randomBytes } from '../ceph/cluster.js';
import { runCli, runDaemonToEnd, startDaemon, type Daemon } from '../harness/daemon.js';
import { expectError } from '../harness/expect-error.js';
import { startPair, type Pair } from '../harness/pair.js';
import { imageNames, snapNames } from '../harness/look.js';

/** Each mistake gives its code, a hint and its exit status, and leaves nothing on either cluster. */
let pair: Pair;

beforeAll(async () => {
  pair = await startPair({ name: 'bad', sourcePools: ['rbd', 'compute'], stores: ['rbd2', 'other'] });
  await pair.source.rbd(['create', '--size', '8M', 'rbd/vm1']);
  await pair.source.rbd(['create', '--size', '8M', 'rbd/never']);
  await pair.source.rbd(['create', '--size', '8M', 'compute/vm1']);
  await applyWrites(pair.source, 'rbd/vm1', [{ offset: 0, data: randomBytes('bad', 100_000) }]);
});

afterAll(async () => {
  await pair?.stop();
});

const expectNothingLeft = async (): Promise<void> => {
  for (const image of ['rbd/vm1', 'rbd/never', 'compute/vm1']) expect(await snapNames(pair.source, image)).toEqual([]);
  expect(await imageNames(pair.backup, 'rbd2')).toEqual([]);
  expect(await imageNames(pair.source, 'rbd')).toEqual(['never', 'vm1']);
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
    expectError(await pair.cli(...args), code, exit, words);
    await expectNothingLeft();
  });
});

it('a result that cannot be written', async () => {
  const full = await open('/dev/full', 'w');
  const result = await runCli(['version'], { stdout: full.createWriteStream({ autoClose: false }) });
  await full.close();
  expectError(result, 'OUTPUT_FAILED', 3, 'ENOSPC');
});

describe('names that are none', () => {
  it.each(['vm1', 'rbd/vm1@snap', 'rbd/a/b/c', 'rbd/vm\n1', 'rbd/\u001b[31mvm1', 'rbd/', ''])('%j', async (image) => {
    expectError(await pair.cli('backup', '--', image), 'INVALID_IMAGE_SPEC', 10, '');
    expectError(await pair.cli('list', '--', image), 'INVALID_IMAGE_SPEC', 10, '');
  });

  it.each(['nonsense', 'rbd2/vm1@x', 'rbd2/vm1.2015-07-07.10:40:39.458883.bkp.image'])('backup id %j', async (id) => {
    expectError(await pair.cli('restore', id), 'INVALID_BACKUP_ID', 11, id);
  });

  it('the daemon checks them as well', async () => {
    expectError(
      await pair.cli('restore', 'rbd2/a@b.2015-07-07.10:40:39.458883.bkp.image@2015-07-07.10:40:43.707889.snap'),
      'INVALID_BACKUP_ID',
      11,
      'a@b',
    );
  });
});

describe('two images of one name in two pools', () => {
  it('have chains of their own', async () => {
    const first = await pair.ok('backup', 'rbd/vm1');
    const refused = await pair.cli('backup', 'compute/vm1', '--mode', 'incr');
    expectError(refused, 'NO_CHAIN', 30, 'compute/vm1');
    const second = await pair.ok('backup', 'compute/vm1');
    const chains = JSON.parse(await pair.ok('list', 'compute/vm1', '--json')) as { backups: { id: string }[] }[];
    expect(chains.flatMap((chain) => chain.backups.map((backup) => backup.id))).toEqual([second]);
    expect(first).not.toBe(second);
    const about = {
      kind: 'backup',
      image: 'compute/vm1',
      receiver: 'dr',
      store: 'rbd2',
      durationMs: expect.any(Number),
    };
    expect(
      pair.agent.records.filter(
        ({ image, msg }) => image === 'compute/vm1' && /^job (failed|committed)/.test(String(msg)),
      ),
    ).toEqual([
      expect.objectContaining({
        ...about,
        msg: 'job failed',
        code: 'NO_CHAIN',
        doneBytes: 0,
        hint: expect.any(String),
      }),
      expect.objectContaining({ ...about, msg: 'job committed', backup: second, streamBytes: expect.any(Number) }),
    ]);
  });
});

describe('connections', () => {
  /** An agent like the pair's, but with other certificates or another address. */
  const agentWith = async (name: string, change: (config: string) => string) => {
    const config = join(pair.dir, `${name}.yaml`);
    const socket = join(pair.dir, `${name}.sock`);
    const text = (await readFile(pair.agentConfig, 'utf8'))
      .replace(/^socket:.*$/m, `socket: ${socket}`)
      .replace(/^state:.*$/m, `state: ${join(pair.dir, `${name}-state`)}`);
    await writeFile(config, change(text));
    const daemon = await startDaemon('rbdferry-agent', config);
    return { daemon, cli: (...args: string[]) => runCli(['--socket', socket, ...args]) };
  };

  const expectRefusal = async (
    name: string,
    change: (config: string) => string,
    code: string,
    exit: number,
    words: string,
  ) => {
    const agent = await agentWith(name, change);
    try {
      expectError(await agent.cli('backup', 'rbd/never'), code, exit, words);
      expect(await snapNames(pair.source, 'rbd/never')).toEqual([]);
    } finally {
      await agent.daemon.stop();
    }
  };

  it('a certificate of another CA', async () => {
    const pki = join(pair.dir, 'other-pki');
    await runCli(['pki', 'init', '--dir', pki]);
    await runCli(['pki', 'issue', 'agent1', '--dir', pki]);
    await expectRefusal(
      'foreign',
      (config) => config.replaceAll(`${pair.pki}/agent1`, `${pki}/agent1`),
      'TLS_FAILED',
      42,
      'receiver "dr"',
    );
  });

  it('a receiver of another CA', async () => {
    await expectRefusal(
      'foreign-ca',
      (config) => config.replaceAll(`${pair.pki}/ca.crt`, `${join(pair.dir, 'other-pki')}/ca.crt`),
      'TLS_FAILED',
      42,
      'receiver "dr"',
    );
  });

  it('a client the receiver does not know', async () => {
    await runCli(['pki', 'issue', 'stranger', '--dir', pair.pki]);
    await expectRefusal(
      'stranger',
      (config) => config.replaceAll('agent1', 'stranger'),
      'ACCESS_DENIED',
      43,
      'stranger',
    );
  });

  it('a store the client has no right to', async () => {
    const receiverConfig = await readFile(pair.receiverConfig, 'utf8');
    const port = await freePort();
    const config = join(pair.dir, 'narrow.yaml');
    await writeFile(
      config,
      receiverConfig
        .replace(/127\.0\.0\.1:\d+/, `127.0.0.1:${port}`)
        .replace('stores: [rbd2, other]', 'stores: [other]'),
    );
    const receiver = await startDaemon('rbdferry-receiver', config);
    try {
      await expectRefusal(
        'narrow',
        (text) => text.replace(/localhost:\d+/, `localhost:${port}`),
        'ACCESS_DENIED',
        43,
        'rbd2',
      );
    } finally {
      await receiver.stop();
    }
  });

  it('a certificate file that is not there', async () => {
    await expectRefusal(
      'no-file',
      (config) => config.replaceAll('agent1.crt', 'none.crt'),
      'CONFIG_MISSING',
      14,
      'none.crt',
    );
  });

  it('a certificate file that is none', async () => {
    await writeFile(join(pair.pki, 'garbage.crt'), 'garbage');
    await expectRefusal(
      'garbage',
      (config) => config.replaceAll('agent1.crt', 'garbage.crt'),
      'CONFIG_INVALID',
      13,
      'garbage.crt',
    );
  });

  it('nobody listens', async () => {
    const port = await freePort();
    await expectRefusal(
      'nobody',
      (config) => config.replace(/localhost:\d+/, `localhost:${port}`),
      'RECEIVER_UNREACHABLE',
      41,
      `localhost:${port}`,
    );
  });

  it('a name that is not in the certificate', async () => {
    await expectRefusal(
      'wrong-name',
      (config) => config.replace(/localhost:(\d+)/, '127.0.0.2:$1'),
      'RECEIVER_UNREACHABLE',
      41,
      '127.0.0.2',
    );
  });

  it('plain text to the TLS port gets no answer', async () => {
    const { connect } = await import('node:net');
    const answer = await new Promise<string>((resolve) => {
      const socket = connect(pair.receiver.port, '127.0.0.1', () => socket.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'));
      let received = '';
      socket.on('data', (data) => (received += data.toString('latin1')));
      socket.on('close', () => {
        resolve(received);
      });
      socket.on('error', () => {});
    });
    expect(answer).not.toContain('HTTP');
    expect(await pair.ok('list', '--json')).toContain('[');
  });

  it('the agent does not run', async () => {
    const socket = join(pair.dir, 'nobody.sock');
    expectError(await runCli(['--socket', socket, 'backup', 'rbd/vm1']), 'AGENT_UNREACHABLE', 40, socket);
  });
});

describe('what is wrong at the start', () => {
  const withReady = async (
    program: 'rbdferry-agent' | 'rbdferry-receiver',
    text: string,
    step: (daemon: Daemon) => Promise<void>,
  ) => {
    const config = join(pair.dir, 'unwell.yaml');
    await writeFile(config, text);
    const daemon = await startDaemon(program, config);
    try {
      await step(daemon);
    } finally {
      await daemon.stop();
    }
  };

  it('a store whose pool is missing: said with code and hint, until somebody makes it', async () => {
    const yaml = (await readFile(pair.receiverConfig, 'utf8')).replace(/^listen:.*$/m, 'listen: 127.0.0.1:0');
    await withReady('rbdferry-receiver', yaml.replace('{ pool: other }', '{ pool: later }'), async (daemon) => {
      expect(await daemon.waitFor('not well')).toMatchObject({
        level: 'error',
        what: 'store other',
        code: 'POOL_NOT_FOUND',
        hint: expect.stringMatching(/./),
      });
      expect(await daemon.waitFor('ready')).toMatchObject({ level: 'warn', notWell: ['store other'] });
      await pair.backup.createPool('later');
      expect(await daemon.waitFor('well again')).toMatchObject({ what: 'store other' });
    });
  });

  it('a keyring that is not there, comes, and goes again', async () => {
    const keyring = join(pair.dir, 'later.keyring');
    const theirs = await readFile(pair.agentConfig, 'utf8');
    const [, given = ''] = /keyring: ([^ ,}]+)/.exec(theirs) ?? [];
    const yaml = theirs.replace(given, keyring);
    const own = yaml
      .replace(/^socket:.*$/m, `socket: ${join(pair.dir, 'unwell.sock')}`)
      .replace(/^state:.*$/m, `state: ${join(pair.dir, 'unwell')}`);
    await withReady('rbdferry-agent', own, async (daemon) => {
      const trouble = { level: 'error', what: 'cluster', code: expect.stringMatching(/^CEPH_/) };
      expect(await daemon.waitFor('not well')).toMatchObject(trouble);
      await copyFile(given, keyring);
      expect(await daemon.waitFor('well again')).toMatchObject({ what: 'cluster' });
      await rm(keyring);
      // Looks at once, as it does every minute.
      process.kill(daemon.pid, 'SIGHUP');
      const troubles = () => daemon.records.filter(({ msg, what }) => msg === 'not well' && what === 'cluster');
      await vi.waitUntil(() => troubles().length > 1, { timeout: 20_000 });
    });
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
  const fingerprint = async (file: string): Promise<string> =>
    (JSON.parse((await runCli(['pki', 'show', file, '--json'])).stdout) as { fingerprint: string }).fingerprint;

  it('shuts a key out of the receiver while its client keeps its backups under a new one', async () => {
    const yaml = await readFile(pair.receiverConfig, 'utf8');
    const pin = async (file: string) =>
      writeFile(
        pair.receiverConfig,
        yaml.replace(/agent1: \{ /, `agent1: { certificates: ["${await fingerprint(file)}"], `),
      );
    const before = await pair.ok('list', '--json');
    try {
      await runCli(['pki', 'issue', 'agent1', '--dir', pair.pki, '--out', join(pair.dir, 'new-key')]);
      await pin(join(pair.dir, 'new-key/agent1.crt'));
      await reload(pair.receiver);
      expectError(await pair.cli('list'), 'ACCESS_DENIED', 43, await fingerprint(join(pair.pki, 'agent1.crt')));
      expect(await pair.receiver.waitFor('refused a client')).toMatchObject({
        reason: expect.stringMatching(/./),
        address: expect.stringMatching(/^127\.0\.0\.1$|^::1$/),
      });
      expect(pair.receiver.records).toContainEqual(
        expect.objectContaining({ msg: 'refused a client', reason: 'fingerprint', client: 'agent1' }),
      );
      for (const end of ['crt', 'key']) {
        await copyFile(join(pair.dir, `new-key/agent1.${end}`), join(pair.pki, `agent1.${end}`));
      }
      expect(await pair.ok('list', '--json')).toBe(before);
    } finally {
      await writeFile(pair.receiverConfig, yaml);
      await reload(pair.receiver);
    }
  });

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
  const failing = async (program: 'rbdferry-agent' | 'rbdferry-receiver', text: string | null): Promise<string> => {
    const path = join(pair.dir, 'broken.yaml');
    if (text !== null) await writeFile(path, text);
    const config = text === null ? join(pair.dir, 'missing.yaml') : path;
    return startDaemon(program, config).then(
      async (daemon) => {
        await daemon.stop();
        return 'it started';
      },
      (error: unknown) => String(error),
    );
  };
  const good = () => readFile(pair.agentConfig, 'utf8');

  it('an unknown key, with line and column', async () => {
    const message = await failing('rbdferry-agent', `${await good()}\nrecievers: {}\n`);
    expect(message).toMatch(/ended with 13: CONFIG_INVALID: .*broken\.yaml:\d+:1: .*recievers/s);
  });

  it('a wrong type', async () => {
    const message = await failing('rbdferry-agent', `${await good()}\nmax_transfers: many\n`);
    expect(message).toMatch(/CONFIG_INVALID: .*broken\.yaml:\d+:16: max_transfers/s);
  });

  it('no YAML at all', async () => {
    expect(await failing('rbdferry-agent', 'a: [1, 2')).toMatch(/CONFIG_INVALID: .*broken\.yaml:\d+:\d+/s);
  });

  it('a missing file', async () => {
    expect(await failing('rbdferry-receiver', null)).toMatch(/ended with 14: CONFIG_MISSING: .*missing\.yaml/s);
  });

  it('a certificate that is not there', async () => {
    const text = (await readFile(pair.receiverConfig, 'utf8')).replace('receiver.crt', 'none.crt');
    expect(await failing('rbdferry-receiver', text)).toMatch(/CONFIG_MISSING: .*none\.crt/s);
  });

  it('a client of a store that is not there', async () => {
    const text = (await readFile(pair.receiverConfig, 'utf8')).replace('stores: [rbd2, other]', 'stores: [nope]');
    expect(await failing('rbdferry-receiver', text)).toMatch(
      /CONFIG_INVALID: .*broken\.yaml:\d+:\d+: clients\.agent1\.stores\.0: .*"nope"/s,
    );
  });

  it('a state directory that cannot be written', async () => {
    const path = join(pair.dir, 'file');
    await writeFile(path, '');
    await chmod(path, 0o400);
    const text = (await good()).replace(/^state:.*$/m, `state: ${path}`);
    expect(await failing('rbdferry-agent', text)).toMatch(/CONFIG_INVALID: cannot use the state directory/);
  });

  it('a second agent on a state directory, also one with a socket of its own', async () => {
    const config = join(pair.dir, 'twin.yaml');
    await writeFile(config, (await good()).replace(/^socket:.*$/m, `socket: ${join(pair.dir, 'twin.sock')}`));
    expectError(await runDaemonToEnd('rbdferry-agent', config), 'STATE_LOCKED', 15, join(pair.dir, 'state'));
    await pair.agent.kill();
    await pair.startAgent();
    expect(await pair.ok('jobs', '--json')).toContain('[');
  });

  it('a second agent on a socket, with a state directory of its own, leaves the first one its socket', async () => {
    const config = join(pair.dir, 'twin.yaml');
    await writeFile(config, (await good()).replace(/^state:.*$/m, `state: ${join(pair.dir, 'twin-state')}`));
    expectError(await runDaemonToEnd('rbdferry-agent', config), 'CONFIG_INVALID', 13, pair.socket);
    expect(await pair.ok('jobs', '--json')).toContain('[');
  });
});

const freePort = (): Promise<number> =>
  new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => {
        resolve(typeof address === 'object' && address !== null ? address.port : 0);
      });
    });
  });
