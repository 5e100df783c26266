import { chmod, copyFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { startAgent } from '@rbdferry/agent/daemon.js';
import { runRbdferry } from '@rbdferry/cli/run-rbdferry.js';
import { toFerryError, type FerryError } from '@rbdferry/core/errors/ferry-error.js';
import { startReceiver } from '@rbdferry/receiver/daemon.js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { expectError } from '../harness/expect-error.js';
import { runInProcess } from './command.js';
import type { DaemonInHouse } from './daemon-in-house.js';
import { startHouse, type House } from './house.js';
import { secondAgent, secondReceiver } from './second.js';

/** What configuration files may not say, and what becomes of a daemon that reads a new one. */
let house: House;

beforeAll(async () => {
  house = await startHouse({ stores: ['rbd2', 'other'] });
});

afterAll(() => house?.stop());

describe('what is wrong at the start', () => {
  it('a store whose pool is missing: said with code and hint, until somebody makes it', async () => {
    const receiver = secondReceiver(house, 'unwell', {
      stores: { rbd2: { pool: 'rbd2' }, other: { pool: 'later' } },
    });
    await receiver.start();
    try {
      await expect
        .poll(() => receiver.record('not well'))
        .toMatchObject({
          level: 'error',
          what: 'store other',
          code: 'POOL_NOT_FOUND',
          hint: expect.stringMatching(/./) as string,
        });
      expect(receiver.record('ready')).toMatchObject({ level: 'warn', notWell: ['store other'] });
      house.backup.cluster.addPool('later');
      await expect
        .poll(() => receiver.record('well again'), { timeout: 10_000 })
        .toMatchObject({ what: 'store other' });
    } finally {
      await receiver.stop();
    }
  });
});

describe('a configuration that is read anew', () => {
  /** What the daemon tells while it reads its file again. */
  const reload = async (daemon: DaemonInHouse): Promise<Readonly<Record<string, unknown>>[]> => {
    const from = daemon.records.length;
    await daemon.reload();
    return daemon.records.slice(from);
  };
  const pki = (...args: string[]) => runInProcess(() => runRbdferry(['pki', ...args]));
  const fingerprint = async (file: string): Promise<string> =>
    (JSON.parse((await pki('show', file, '--json')).stdout) as { fingerprint: string }).fingerprint;

  it('shuts a key out of the receiver while its client keeps its backups under a new one', async () => {
    const dir = join(house.dir, 'pki');
    const { clients } = house.receiver.config;
    const fresh = join(house.dir, 'new-key');
    const before = await house.ok('list', '--json');
    try {
      await pki('issue', 'agent1', '--dir', dir, '--out', fresh);
      const certificates = [await fingerprint(join(fresh, 'agent1.crt'))];
      house.receiver.config['clients'] = { agent1: { stores: ['rbd2', 'other'], certificates } };
      await reload(house.receiver);
      expectError(await house.cli('list'), 'ACCESS_DENIED', 43, await fingerprint(join(dir, 'agent1.crt')));
      expect(house.receiver.record('refused a client')).toMatchObject({
        reason: 'fingerprint',
        client: 'agent1',
        address: expect.stringMatching(/^127\.0\.0\.1$|^::1$/) as string,
      });
      for (const end of ['crt', 'key']) await copyFile(join(fresh, `agent1.${end}`), join(dir, `agent1.${end}`));
      expect(await house.ok('list', '--json')).toBe(before);
    } finally {
      house.receiver.config['clients'] = clients;
      await reload(house.receiver);
    }
  });

  it('leaves a daemon as it was when its new file is bad, and says what a restart would change', async () => {
    const { config } = house.agent;
    const { receivers, state } = config;
    try {
      config['nonsense'] = 1;
      expect(await reload(house.agent)).toContainEqual(
        expect.objectContaining({
          level: 'error',
          code: 'CONFIG_INVALID',
          error: expect.stringContaining('nonsense') as string,
        }),
      );
      expect(await house.ok('list', '--receiver', 'dr', '--json')).toContain('[');
      delete config['nonsense'];
      config['receivers'] = { elsewhere: (receivers as { dr: unknown }).dr };
      config['state'] = '/nowhere';
      expect(await reload(house.agent)).toContainEqual(
        expect.objectContaining({ level: 'warn', msg: 'needs a restart: state' }),
      );
      expectError(await house.cli('list', '--receiver', 'dr'), 'RECEIVER_NOT_FOUND', 23, 'dr');
    } finally {
      Object.assign(config, { receivers, state });
      await reload(house.agent);
    }
    expect(await house.ok('list', '--json')).toContain('[');
  });
});

describe('configuration files', () => {
  const path = () => join(house.dir, 'broken.yaml');
  /** YAML with a line for each key. */
  const yamlOf = (config: Readonly<Record<string, unknown>>): string =>
    Object.entries(config)
      .map(([key, value]) => `${key}: ${JSON.stringify(value)}\n`)
      .join('');
  const agentWith = (change: Record<string, unknown>): string =>
    yamlOf({ ...house.agent.config, socket: join(house.dir, 'broken.sock'), ...change });

  const refusalOf = async (start: Promise<unknown>): Promise<FerryError> =>
    start.then(
      () => expect.unreachable('it started'),
      (thrown: unknown) => toFerryError(thrown),
    );
  const failing = async (start: (path: string) => Promise<unknown>, text: string): Promise<FerryError> => {
    await writeFile(path(), text);
    return refusalOf(start(path()));
  };
  const expectInvalid = (error: FerryError, words: RegExp): void => {
    expect(error).toMatchObject({ code: 'CONFIG_INVALID', message: expect.stringMatching(words) as string });
    expect(error.hint).toMatch(/\S/);
  };

  it('an unknown key, with line and column', async () => {
    const error = await failing(startAgent, `${agentWith({})}recievers: {}\n`);
    expectInvalid(error, /broken\.yaml:\d+:1: .*recievers/s);
  });

  it('a wrong type', async () => {
    const error = await failing(startAgent, `${agentWith({})}max_transfers: many\n`);
    expectInvalid(error, /broken\.yaml:\d+:16: max_transfers/s);
  });

  it('no YAML at all', async () => {
    expectInvalid(await failing(startAgent, 'a: [1, 2'), /broken\.yaml:\d+:\d+/s);
  });

  it('a missing file', async () => {
    expect(await refusalOf(startReceiver(join(house.dir, 'missing.yaml')))).toMatchObject({
      code: 'CONFIG_MISSING',
      message: expect.stringContaining('missing.yaml') as string,
    });
  });

  it('a certificate that is not there', async () => {
    const { tls, ...rest } = house.receiver.config;
    const config = { ...rest, tls: { ...(tls as object), cert: join(house.dir, 'pki/none.crt') } };
    expect(await failing(startReceiver, yamlOf(config))).toMatchObject({
      code: 'CONFIG_MISSING',
      message: expect.stringContaining('none.crt') as string,
    });
  });

  it('a client of a store that is not there', async () => {
    const error = await failing(
      startReceiver,
      yamlOf({ ...house.receiver.config, clients: { agent1: { stores: ['nope'] } } }),
    );
    expectInvalid(error, /broken\.yaml:\d+:\d+: clients\.agent1\.stores\.0: .*"nope"/s);
  });

  it('a state directory that cannot be written', async () => {
    const state = join(house.dir, 'file');
    await writeFile(state, '');
    await chmod(state, 0o400);
    expectInvalid(await failing(startAgent, agentWith({ state })), /^cannot use the state directory/);
  });

  it('a second agent on a socket, with a state directory of its own, leaves the first one its socket', async () => {
    const twin = secondAgent(house, 'twin', { socket: house.socket });
    const error = await refusalOf(twin.daemon.start());
    expect(error.code).toBe('CONFIG_INVALID');
    expect(error.message).toContain(house.socket);
    expect(await house.ok('jobs', '--json')).toContain('[');
  });
});
