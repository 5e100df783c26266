import { writeFile } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { runRbdferry } from '@rbdferry/cli/run-rbdferry.js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { expectError } from '../harness/expect-error.js';
import { runInProcess } from './command.js';
import { startHouse, type House } from './house.js';
import { receiversWith, secondAgent, secondReceiver } from './second.js';

/** An agent that is kept out, and one that finds nobody: the code says which, and no snapshot is left. */
let house: House;
let pki: string;

beforeAll(async () => {
  house = await startHouse({ stores: ['rbd2', 'other'] });
  pki = join(house.dir, 'pki');
  await house.source.create('rbd/never');
});

afterAll(() => house?.stop());

const pkiCommand = (...args: string[]) => runInProcess(() => runRbdferry(['pki', ...args]));
const portOf = (receiver: { record(message: string): { readonly [key: string]: unknown } | undefined }) =>
  Number(receiver.record('ready')?.['port']);
const tlsOf = (name: string, dir = pki, ca = dir) => ({
  tls: { ca: `${ca}/ca.crt`, cert: `${dir}/${name}.crt`, key: `${dir}/${name}.key` },
});

let agents = 0;

/** An agent like the house's, but with other certificates or another address, is refused. */
const expectRefusal = async (change: Record<string, unknown>, code: string, exit: number, words: string) => {
  const agent = secondAgent(house, `other-${(agents += 1)}`, receiversWith(house, change));
  await agent.daemon.start();
  try {
    expectError(await agent.cli('backup', 'rbd/never'), code, exit, words);
    expect(await house.source.snapNames('rbd/never')).toEqual([]);
  } finally {
    await agent.daemon.stop();
  }
};

describe('connections', () => {
  it('a certificate of another CA', async () => {
    const other = join(house.dir, 'other-pki');
    await pkiCommand('init', '--dir', other);
    await pkiCommand('issue', 'agent1', '--dir', other);
    await expectRefusal(tlsOf('agent1', other, pki), 'TLS_FAILED', 42, 'receiver "dr"');
  });

  it('a receiver of another CA', async () => {
    const change = tlsOf('agent1', pki, join(house.dir, 'other-pki'));
    await expectRefusal(change, 'TLS_FAILED', 42, 'receiver "dr"');
  });

  it('a client the receiver does not know', async () => {
    await pkiCommand('issue', 'stranger', '--dir', pki);
    await expectRefusal(tlsOf('stranger'), 'ACCESS_DENIED', 43, 'stranger');
  });

  it('a store the client has no right to', async () => {
    const receiver = secondReceiver(house, 'narrow', { clients: { agent1: { stores: ['other'] } } });
    await receiver.start();
    try {
      await expectRefusal({ address: `localhost:${portOf(receiver)}` }, 'ACCESS_DENIED', 43, 'rbd2');
    } finally {
      await receiver.stop();
    }
  });

  it('a certificate file that is not there', async () => {
    const { tls } = tlsOf('agent1');
    await expectRefusal({ tls: { ...tls, cert: `${pki}/none.crt` } }, 'CONFIG_MISSING', 14, 'none.crt');
  });

  it('a certificate file that is none', async () => {
    const { tls } = tlsOf('agent1');
    await writeFile(join(pki, 'garbage.crt'), 'garbage');
    await expectRefusal({ tls: { ...tls, cert: `${pki}/garbage.crt` } }, 'CONFIG_INVALID', 13, 'garbage.crt');
  });

  it('nobody listens', async () => {
    const address = `localhost:${await freePort()}`;
    await expectRefusal({ address }, 'RECEIVER_UNREACHABLE', 41, address);
  });

  it('a name that is not in the certificate', async () => {
    const receiver = secondReceiver(house, 'elsewhere', { listen: '127.0.0.2:0' });
    await receiver.start();
    try {
      const address = `127.0.0.2:${portOf(receiver)}`;
      await expectRefusal({ address }, 'TLS_FAILED', 42, '127.0.0.2');
    } finally {
      await receiver.stop();
    }
  });

  it('an address where nobody is', async () => {
    const address = `127.0.0.2:${portOf(house.receiver)}`;
    await expectRefusal({ address }, 'RECEIVER_UNREACHABLE', 41, '127.0.0.2');
  });

  it('plain text to the TLS port gets no answer', async () => {
    const answer = await new Promise<string>((resolve) => {
      const socket = connect(portOf(house.receiver), '127.0.0.1', () =>
        socket.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
      );
      let received = '';
      socket.on('data', (data) => (received += data.toString('latin1')));
      socket.on('close', () => {
        resolve(received);
      });
      socket.on('error', () => {});
    });
    expect(answer).not.toContain('HTTP');
    expect(await house.ok('list', '--json')).toContain('[');
  });

  it('the agent does not run', async () => {
    const socket = join(house.dir, 'nobody.sock');
    const end = await runInProcess(() => runRbdferry(['--socket', socket, 'backup', 'rbd/vm1']));
    expectError(end, 'AGENT_UNREACHABLE', 40, socket);
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
