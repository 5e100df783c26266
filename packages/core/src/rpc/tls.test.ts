import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer as createHttpServer } from 'node:http';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as connectTls, createServer as createTlsServer } from 'node:tls';
import { ServerCredentials } from '@grpc/grpc-js';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { initCa, loadAuthority } from '../../../cli/src/pki/authority.js';
import { issueCertificate } from '../../../cli/src/pki/issue-certificate.js';
import {
  certificateToPem,
  generateKeys,
  keyToPem,
  SIGNATURE_ALGORITHM,
  validity,
  x509,
} from '../../../cli/src/pki/x509.js';
import { FerryError } from '../errors/ferry-error.js';
import { callUnary } from './calls.js';
import type { RpcServer } from './server.js';
import { createClient, createTestServer } from './service-pair.js';
import { clientCredentials, reloadServerCredentials, serverCredentials, type TlsFiles } from './tls.js';

let dir: string;
let ours: string;
let theirs: string;

const filesOf = (pki: string, name: string, ca = pki): TlsFiles => ({
  ca: join(ca, 'ca.crt'),
  cert: join(pki, `${name}.crt`),
  key: join(pki, `${name}.key`),
});

const dayMs = 86_400_000;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'rbdferry-tls-'));
  ours = join(dir, 'ours');
  theirs = join(dir, 'theirs');
  for (const pki of [ours, theirs]) {
    await initCa({ dir: pki });
    await issueCertificate({ dir: pki, name: 'receiver', hosts: ['localhost', '127.0.0.1'] });
    await issueCertificate({ dir: pki, name: 'agent1' });
  }
  const past = () => new Date(Date.now() - 10 * dayMs);
  await issueCertificate({ dir: ours, name: 'old', days: 1, now: past });
  await issueCertificate({ dir: ours, name: 'elsewhere', hosts: ['backup.example'] });
});

afterAll(async () => {
  await rm(dir, { recursive: true, force: true });
});

let server: RpcServer | undefined;
let current: ServerCredentials;
let foreign: Server | undefined;
const guests = new Set<Socket>();

afterEach(async () => {
  await server?.stop(100);
  server = undefined;
  foreign?.close();
  foreign = undefined;
  for (const guest of guests) guest.destroy();
  guests.clear();
});

/** A receiver that answers the handshake with the client's common name. */
const listen = async (files: TlsFiles): Promise<number> => {
  server = createTestServer(({ unary }) => ({
    handshake: unary((_, { client }) =>
      Promise.resolve({
        protocol: 1,
        software: '',
        capabilities: [],
        stores: [],
        policies: {},
        client: client ?? 'nobody',
        timeMs: 0n,
      }),
    ),
  }));
  current = await serverCredentials(files);
  return server.listenTls('localhost:0', current);
};

const greet = async (files: TlsFiles, address: string): Promise<string> => {
  const client = createClient(address, await clientCredentials(files));
  try {
    const { client: name } = await callUnary(
      client.handshake.bind(client),
      { protocolMin: 1, protocolMax: 1, software: 'test', capabilities: [] },
      { peer: { unreachable: 'RECEIVER_UNREACHABLE', peer: 'receiver "dr"' }, timeoutMs: 20_000 },
    );
    return name;
  } finally {
    client.close();
  }
};

const failureOf = async (step: Promise<unknown>): Promise<FerryError> => {
  const thrown = await step.then(
    () => new Error('expected a failure'),
    (thrown: unknown) => thrown,
  );
  if (thrown instanceof FerryError) return thrown;
  throw thrown;
};

/** Every refusal comes at once: a user must not wait for the deadline of 20 s. */
const expectRefusal = async (step: Promise<unknown>, code: string): Promise<string> => {
  const started = performance.now();
  const error = await failureOf(step);
  expect(error.code).toBe(code);
  expect(performance.now() - started).toBeLessThan(3_000);
  return error.message;
};

describe('certificates that are read anew', () => {
  it('hold for new connections, on TLS 1.3 alone; bad ones change nothing', async () => {
    const port = await listen(filesOf(ours, 'receiver'));
    const address = `localhost:${port}`;
    expect(await greet(filesOf(ours, 'agent1'), address)).toBe('agent1');
    await expect(reloadServerCredentials(current, filesOf(ours, 'none'))).rejects.toMatchObject({
      code: 'CONFIG_MISSING',
    });
    expect(await greet(filesOf(ours, 'agent1'), address)).toBe('agent1');
    await reloadServerCredentials(current, filesOf(theirs, 'receiver'));
    expect(await greet(filesOf(theirs, 'agent1'), address)).toBe('agent1');
    await expectRefusal(greet(filesOf(ours, 'agent1'), address), 'TLS_FAILED');
    const { ca } = filesOf(theirs, 'receiver');
    const old = connectTls({ port, host: 'localhost', ca: await readFile(ca), maxVersion: 'TLSv1.2' });
    expect(await new Promise((resolve) => old.once('error', resolve).once('secureConnect', resolve))).toBeInstanceOf(
      Error,
    );
  });
});

describe('certificates', () => {
  it('of one CA connect, and the server knows the client by its common name', async () => {
    const port = await listen(filesOf(ours, 'receiver'));
    expect(await greet(filesOf(ours, 'agent1'), `localhost:${port}`)).toBe('agent1');
    expect(await greet(filesOf(ours, 'agent1'), `127.0.0.1:${port}`)).toBe('agent1');
  });

  it('of a client of another CA are refused by the server', async () => {
    const port = await listen(filesOf(ours, 'receiver'));
    await expectRefusal(greet(filesOf(theirs, 'agent1', ours), `localhost:${port}`), 'TLS_FAILED');
  });

  it('of a server of another CA are refused by the client', async () => {
    const port = await listen(filesOf(theirs, 'receiver'));
    await expectRefusal(greet(filesOf(ours, 'agent1'), `localhost:${port}`), 'TLS_FAILED');
  });

  it('of a client that have expired are refused by the server', async () => {
    const port = await listen(filesOf(ours, 'receiver'));
    await expectRefusal(greet(filesOf(ours, 'old'), `localhost:${port}`), 'TLS_FAILED');
  });

  it('of a server that have expired are refused by the client', async () => {
    const port = await listen(filesOf(ours, 'old'));
    const message = await expectRefusal(greet(filesOf(ours, 'agent1'), `localhost:${port}`), 'TLS_FAILED');
    expect(message).toContain('expired');
  });

  it('of a client without a common name, or with two, connect and are nobody', async () => {
    const port = await listen(filesOf(ours, 'receiver'));
    for (const subject of [[], [{ CN: ['agent1'] }, { CN: ['agent2'] }]]) {
      const name = `odd-${subject.length}`;
      const { certificate, key } = await loadAuthority(ours, new Date());
      const keys = await generateKeys();
      const odd = await x509.X509CertificateGenerator.create({
        ...validity(new Date(), 1),
        subject: new x509.Name(subject),
        issuer: certificate.subjectName,
        publicKey: keys.publicKey,
        signingKey: key,
        signingAlgorithm: SIGNATURE_ALGORITHM,
      });
      await writeFile(join(ours, `${name}.crt`), certificateToPem(odd));
      await writeFile(join(ours, `${name}.key`), await keyToPem(keys.privateKey));
      expect(await greet(filesOf(ours, name), `localhost:${port}`)).toBe('nobody');
    }
  });

  it('for another host are refused by the client', async () => {
    const port = await listen(filesOf(ours, 'elsewhere'));
    const message = await expectRefusal(greet(filesOf(ours, 'agent1'), `localhost:${port}`), 'TLS_FAILED');
    expect(message).toContain('backup.example');
  });
});

describe('a port where something else listens', () => {
  const open = async (other: Server): Promise<number> => {
    foreign = other.on('connection', (socket: Socket) => guests.add(socket.on('error', () => {})));
    await new Promise<void>((resolve) => {
      other.listen(0, '127.0.0.1', resolve);
    });
    return (other.address() as AddressInfo).port;
  };

  it('in plain text that says hello first', async () => {
    const port = await open(createServer((socket) => socket.write('SSH-2.0-OpenSSH_9.2p1\r\n')));
    await expectRefusal(greet(filesOf(ours, 'agent1'), `127.0.0.1:${port}`), 'TLS_FAILED');
  });

  it('plain HTTP', async () => {
    const port = await open(createHttpServer());
    await expectRefusal(greet(filesOf(ours, 'agent1'), `127.0.0.1:${port}`), 'TLS_FAILED');
  });

  it('gRPC without TLS', async () => {
    server = createTestServer(() => ({}));
    const port = await server.listenTls('localhost:0', ServerCredentials.createInsecure());
    await expectRefusal(greet(filesOf(ours, 'agent1'), `localhost:${port}`), 'TLS_FAILED');
  });

  it('that closes every connection', async () => {
    const port = await open(createServer((socket) => socket.end()));
    await expectRefusal(greet(filesOf(ours, 'agent1'), `127.0.0.1:${port}`), 'RECEIVER_UNREACHABLE');
  });

  it('that resets every connection', async () => {
    const port = await open(createServer((socket) => socket.resetAndDestroy()));
    await expectRefusal(greet(filesOf(ours, 'agent1'), `127.0.0.1:${port}`), 'RECEIVER_UNREACHABLE');
  });

  it('TLS 1.3 that is not HTTP/2', async () => {
    const { key, cert } = filesOf(ours, 'receiver');
    const tls = createTlsServer({ key: await readFile(key), cert: await readFile(cert) }, (socket) =>
      socket.on('error', () => {}).end('220 mail.example ESMTP\r\n'),
    );
    const port = await open(tls);
    await expectRefusal(greet(filesOf(ours, 'agent1'), `127.0.0.1:${port}`), 'RECEIVER_UNREACHABLE');
  });

  it('TLS 1.2 only', async () => {
    const { key, cert } = filesOf(ours, 'receiver');
    const options = { key: await readFile(key), cert: await readFile(cert), maxVersion: 'TLSv1.2' as const };
    const port = await open(createTlsServer(options));
    await expectRefusal(greet(filesOf(ours, 'agent1'), `127.0.0.1:${port}`), 'TLS_FAILED');
  });
});

describe('certificate files', () => {
  const wrong = async (change: Partial<TlsFiles>) => {
    const files = { ...filesOf(ours, 'receiver'), ...change };
    return [await failureOf(serverCredentials(files)), await failureOf(clientCredentials(files))];
  };

  it.each(['ca', 'cert', 'key'] as const)('%s missing', async (which) => {
    const path = join(dir, 'no-such-file');
    for (const error of await wrong({ [which]: path })) {
      expect(error.code).toBe('CONFIG_MISSING');
      expect(error.message).toContain(path);
    }
  });

  it.each(['ca', 'cert', 'key'] as const)('%s that is not PEM', async (which) => {
    const path = join(dir, 'nonsense');
    await writeFile(path, 'nonsense\n');
    for (const error of await wrong({ [which]: path })) {
      expect(error.code).toBe('CONFIG_INVALID');
      expect(error.message).toContain(path);
    }
  });

  it('a key of another certificate', async () => {
    for (const error of await wrong({ key: join(ours, 'agent1.key') })) expect(error.code).toBe('CONFIG_INVALID');
  });

  it('a CA without a certificate in it', async () => {
    const path = join(dir, 'empty');
    await writeFile(path, '');
    for (const error of await wrong({ ca: path })) expect(error.code).toBe('CONFIG_INVALID');
  });
});
