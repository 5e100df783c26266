import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { connect as connectTcp } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as connectTls, type ConnectionOptions } from 'node:tls';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { initCa } from '../../../cli/src/pki/authority.js';
import { issueCertificate } from '../../../cli/src/pki/issue-certificate.js';
import { createServer, type RpcServer } from './server.js';
import { serverCredentials } from './tls.js';
import type { TlsRefusal } from './tls-refusal.js';

let dir: string;
let port: number;
let server: RpcServer;
const told: TlsRefusal[] = [];

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'rbdferry-refusal-'));
  for (const pki of ['ours', 'theirs']) {
    await initCa({ dir: join(dir, pki) });
    await issueCertificate({ dir: join(dir, pki), name: 'peer', hosts: ['localhost'] });
  }
  const past = () => new Date(Date.now() - 10 * 86_400_000);
  await issueCertificate({ dir: join(dir, 'ours'), name: 'old', days: 1, now: past });
  server = createServer({
    proto: 'rbdferry/v1/transfer.proto',
    service: 'rbdferry.v1.TransferService',
    onRefused: (refusal) => told.push(refusal),
  });
  const [ca = '', cert = '', key = ''] = ['ca.crt', 'peer.crt', 'peer.key'].map((file) => join(dir, 'ours', file));
  port = await server.listenTls('127.0.0.1:0', await serverCredentials({ ca, cert, key }));
});

afterAll(async () => {
  await server.stop(50);
  await rm(dir, { recursive: true, force: true });
});

const pem = (pki: string, file: string) => readFile(join(dir, pki, file));

/** A handshake, until the server has ended the connection, or the client has what it wants. */
const shakeHands = async (options: ConnectionOptions): Promise<void> => {
  const ca = options.ca ?? (await pem('ours', 'ca.crt'));
  const given = { host: 'localhost', servername: 'localhost', port, ALPNProtocols: ['h2'], ...options, ca };
  await new Promise<void>((resolve) => {
    const socket = connectTls({ ...given, host: '127.0.0.1' });
    socket.on('error', () => {});
    socket.on('data', () => {});
    socket.on('close', () => {
      resolve();
    });
  });
};

const identity = async (pki: string, name: string) => ({
  cert: await pem(pki, `${name}.crt`),
  key: await pem(pki, `${name}.key`),
});

const raw = (step: (socket: ReturnType<typeof connectTcp>) => void): Promise<void> =>
  new Promise((resolve) => {
    const socket = connectTcp(port, '127.0.0.1', () => {
      step(socket);
    });
    socket.on('error', () => {});
    socket.on('close', () => {
      resolve();
    });
  });

describe('a refused connection is told with the reason and the address', () => {
  it.each<[string, TlsRefusal['reason'], () => Promise<void>]>([
    ['no certificate', 'no_certificate', () => shakeHands({})],
    ['a certificate of another CA', 'unknown_ca', async () => shakeHands(await identity('theirs', 'peer'))],
    ['a certificate that has ended', 'expired', async () => shakeHands(await identity('ours', 'old'))],
    [
      'TLS that is too old',
      'protocol',
      async () => shakeHands({ ...(await identity('ours', 'peer')), maxVersion: 'TLSv1.2' }),
    ],
    ['no TLS', 'protocol', () => raw((socket) => socket.write('GET / HTTP/1.1\r\n\r\n'))],
    [
      'a client that does not trust us',
      'gave_up',
      async () => shakeHands({ ...(await identity('ours', 'peer')), ca: await pem('theirs', 'ca.crt') }),
    ],
    ['a look whether the port is open', 'closed', () => raw((socket) => socket.end())],
  ])('%s', async (_, reason, step) => {
    told.length = 0;
    await step();
    await vi.waitFor(() => {
      expect(told).toEqual([{ reason, address: '127.0.0.1', detail: expect.stringMatching(/^[A-Z_0-9]+$/) }]);
    });
  });

  it('nothing is told of a client that is let in', async () => {
    told.length = 0;
    const given = { ...(await identity('ours', 'peer')), ca: await pem('ours', 'ca.crt') };
    const socket = connectTls({ host: '127.0.0.1', servername: 'localhost', port, ALPNProtocols: ['h2'], ...given });
    await new Promise((resolve) => socket.once('data', resolve));
    socket.destroy();
    await new Promise((resolve) => socket.once('close', resolve));
    expect(told).toEqual([]);
  });
});
