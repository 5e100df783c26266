import { execFile } from 'node:child_process';
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, createServer, type TLSSocket } from 'node:tls';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { initCa } from './authority.js';
import { issueCertificate } from './issue-certificate.js';
import { PkiError } from './pki-error.js';
import { readCertificate } from './read-certificate.js';

const run = promisify(execFile);
const DAY_MS = 86_400_000;
const daysAgo = (days: number) => (): Date => new Date(Date.now() - days * DAY_MS);

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'rbdferry-pki-'));
});
afterEach(async () => {
  await rm(dir, { recursive: true, force: true });
});

const file = (...parts: string[]): Promise<string> => readFile(join(dir, ...parts), 'utf8');
const certificate = async (...parts: string[]): Promise<X509Certificate> => new X509Certificate(await file(...parts));
const modeOf = async (...parts: string[]): Promise<number> => (await stat(join(dir, ...parts))).mode & 0o777;

async function hasOpenssl(): Promise<boolean> {
  return run('openssl', ['version']).then(
    () => true,
    () => false,
  );
}
const openssl = await hasOpenssl();

describe('initCa', () => {
  test('makes a certificate that signs itself and nothing but end certificates', async () => {
    const created = await initCa({ dir, commonName: 'Backups, "main" = 1', days: 10 });
    expect(created).toMatchObject({ certificatePath: join(dir, 'ca.crt'), keyPath: join(dir, 'ca.key') });
    const ca = await certificate('ca.crt');
    expect(ca.ca).toBe(true);
    expect(ca.verify(ca.publicKey)).toBe(true);
    expect(ca.checkPrivateKey(createPrivateKey(await file('ca.key')))).toBe(true);
    expect(ca.toLegacyObject().subject['CN']).toBe('Backups, "main" = 1');
    expect(Date.parse(ca.validTo)).toBe(Math.floor(created.notAfter.getTime() / 1000) * 1000);
  });

  test('keeps the key, and a directory it had to make, from others', async () => {
    await initCa({ dir: join(dir, 'new', 'ca') });
    expect(await modeOf('new', 'ca', 'ca.key')).toBe(0o600);
    expect(await modeOf('new', 'ca', 'ca.crt')).toBe(0o644);
    expect(await modeOf('new', 'ca')).toBe(0o700);
    expect((await readdir(join(dir, 'new', 'ca'))).sort()).toEqual(['ca.crt', 'ca.key']);
  });

  test.each(['ca.crt', 'ca.key'])('leaves a directory alone that has a %s', async (name) => {
    await writeFile(join(dir, name), 'precious');
    await expect(initCa({ dir })).rejects.toThrow(PkiError);
    await expect(initCa({ dir })).rejects.toThrow('there is a certificate authority already');
    expect(await file(name)).toBe('precious');
    expect(await readdir(dir)).toEqual([name]);
  });

  test('does not write through a dangling link', async () => {
    await symlink(join(dir, 'elsewhere'), join(dir, 'ca.key'));
    await expect(initCa({ dir })).rejects.toThrow(PkiError);
    expect(await readdir(dir)).toEqual(['ca.key']);
  });

  test.each([
    { days: 0 },
    { days: 1.5 },
    { days: Number.NaN },
    { days: 40_000 },
    { commonName: ' ' },
    { commonName: 'a\nb' },
  ])('refuses %o', async (options) => {
    await expect(initCa({ dir, ...options })).rejects.toThrow(PkiError);
    expect(await readdir(dir)).toEqual([]);
  });

  test('says where it could not write', async () => {
    await writeFile(join(dir, 'file'), '');
    await expect(initCa({ dir: join(dir, 'file', 'ca') })).rejects.toThrow(PkiError);
  });
});

describe('issueCertificate', () => {
  test('makes a certificate for both sides of a connection, with the names and the authority in it', async () => {
    await initCa({ dir });
    const hosts = ['Backup.Example.com', '10.0.0.5', 'fd00::5', '10.0.0.5'];
    const issued = await issueCertificate({ dir, name: 'receiver-1', hosts, outDir: join(dir, 'out') });
    expect(issued.hosts).toEqual(['receiver-1', 'backup.example.com', '10.0.0.5', 'fd00::5']);
    const [ca, leaf] = [await certificate('ca.crt'), await certificate('out', 'receiver-1.crt')];
    expect(leaf.checkIssued(ca)).toBe(true);
    expect(leaf.verify(ca.publicKey)).toBe(true);
    expect(leaf.ca).toBe(false);
    expect(leaf.subject).toBe('CN=receiver-1');
    expect(leaf.keyUsage).toEqual(['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2']);
    expect(leaf.serialNumber).toMatch(/^[4-7][0-9A-F]{31}$/);
    for (const name of ['receiver-1', 'backup.example.com']) expect(leaf.checkHost(name)).toBe(name);
    for (const address of ['10.0.0.5', 'fd00::5']) expect(leaf.checkIP(address)).toBe(address);
    expect(leaf.checkHost('localhost')).toBeUndefined();
    expect(leaf.checkPrivateKey(createPrivateKey(await file('out', 'receiver-1.key')))).toBe(true);
    expect(await modeOf('out', 'receiver-1.key')).toBe(0o600);
    expect((await readdir(join(dir, 'out'))).sort()).toEqual(['receiver-1.crt', 'receiver-1.key']);
  });

  test('without hosts is good for this machine, and for its name where that can be a host', async () => {
    await initCa({ dir });
    const local = ['localhost', '127.0.0.1', '::1'];
    expect((await issueCertificate({ dir, name: 'agent' })).hosts).toEqual(['agent', ...local]);
    expect((await issueCertificate({ dir, name: 'agent_2' })).hosts).toEqual(local);
    expect((await issueCertificate({ dir, name: '10.1.1.1' })).hosts).toEqual(['10.1.1.1', ...local]);
  });

  test('begins a little in the past and ends with its authority at the latest', async () => {
    const { notAfter } = await initCa({ dir, days: 30 });
    const now = new Date();
    expect((await issueCertificate({ dir, name: 'short', days: 7, now: () => now })).notAfter.getTime()).toBe(
      now.getTime() + 7 * DAY_MS,
    );
    const long = await issueCertificate({ dir, name: 'long' });
    expect(Math.abs(long.notAfter.getTime() - notAfter.getTime())).toBeLessThan(1000);
    expect(Date.parse((await certificate('short.crt')).validFrom)).toBeLessThan(now.getTime() - 60_000);
  });

  test('keeps the hosts of a certificate that it replaces, unless others are given', async () => {
    await initCa({ dir });
    const hosts = ['backup1.example.com', '10.0.0.7', '::1'];
    await issueCertificate({ dir, name: 'receiver', hosts });
    const before = await readCertificate(join(dir, 'receiver.crt'));
    expect(before).toMatchObject({ name: 'receiver', hosts: ['receiver', ...hosts], daysLeft: 824 });
    const renewed = await issueCertificate({ dir, name: 'receiver', replace: true });
    expect(renewed.hosts).toEqual(before.hosts);
    const after = await readCertificate(join(dir, 'receiver.crt'));
    expect(after.hosts).toEqual(before.hosts);
    expect(after.fingerprint).not.toBe(before.fingerprint);
    const moved = await issueCertificate({ dir, name: 'receiver', replace: true, hosts: ['backup2.example.com'] });
    expect(moved.hosts).toEqual(['receiver', 'backup2.example.com']);
  });

  test('replaces a certificate only when asked', async () => {
    await initCa({ dir });
    await issueCertificate({ dir, name: 'agent' });
    const before = await file('agent.crt');
    await expect(issueCertificate({ dir, name: 'agent' })).rejects.toThrow('there is a certificate already');
    expect(await file('agent.crt')).toBe(before);
    await issueCertificate({ dir, name: 'agent', replace: true });
    const after = await certificate('agent.crt');
    expect(after.toString()).not.toBe(before);
    expect(after.checkPrivateKey(createPrivateKey(await file('agent.key')))).toBe(true);
  });

  test('takes up after a run that was interrupted between the key and the certificate', async () => {
    await initCa({ dir });
    await writeFile(join(dir, 'agent.key'), 'left over');
    await issueCertificate({ dir, name: 'agent' });
    expect((await certificate('agent.crt')).checkPrivateKey(createPrivateKey(await file('agent.key')))).toBe(true);
  });

  test.each(['', '.', '..', '.hidden', '-x', 'a/b', 'a b', 'ä', 'a\n', 'ca', 'CA', 'x'.repeat(65)])(
    'refuses the name %j',
    async (name) => {
      await initCa({ dir });
      await expect(issueCertificate({ dir, name })).rejects.toThrow(PkiError);
      expect((await readdir(dir)).sort()).toEqual(['ca.crt', 'ca.key']);
    },
  );

  test.each([
    '',
    'a b',
    'host:8443',
    '[::1]',
    '*.example.com',
    'example.com.',
    '-a.com',
    '10.0.0.300',
    'http://a',
    'fe80::1%eth0',
    'ä.de',
    'a'.repeat(64),
  ])('refuses the host %j', async (host) => {
    await initCa({ dir });
    await expect(issueCertificate({ dir, name: 'receiver', hosts: [host] })).rejects.toThrow(PkiError);
    expect((await readdir(dir)).sort()).toEqual(['ca.crt', 'ca.key']);
  });
});

describe('an authority is refused when', () => {
  const issue = (): Promise<unknown> => issueCertificate({ dir, name: 'agent' });

  test('it is missing', async () => {
    await expect(issue()).rejects.toMatchObject({ name: 'PkiError', hint: expect.stringContaining('pki init') });
  });

  test('its time is over', async () => {
    await initCa({ dir, days: 10, now: daysAgo(11) });
    await expect(issue()).rejects.toThrow('ended on');
  });

  test('its key is of another one', async () => {
    await initCa({ dir });
    await initCa({ dir: join(dir, 'other') });
    await writeFile(join(dir, 'ca.key'), await file('other', 'ca.key'));
    await expect(issue()).rejects.toThrow('its key does not belong to its certificate');
  });

  test('it is no authority but a certificate', async () => {
    await initCa({ dir });
    await issueCertificate({ dir, name: 'leaf' });
    await writeFile(join(dir, 'ca.crt'), await file('leaf.crt'));
    await writeFile(join(dir, 'ca.key'), await file('leaf.key'));
    await expect(issue()).rejects.toThrow('not that of an authority');
  });

  test.each(['ca.crt', 'ca.key'])('its %s is not PEM', async (name) => {
    await initCa({ dir });
    await writeFile(join(dir, name), 'garbage');
    await expect(issue()).rejects.toThrow('cannot be used');
  });
});

describe('mutual TLS 1.3', () => {
  interface Identity {
    readonly ca: string;
    readonly cert: string;
    readonly key: string;
  }

  async function identity(
    name: string,
    options: { readonly caDir?: string; readonly now?: () => Date; readonly days?: number } = {},
  ): Promise<Identity> {
    const { caDir = dir, ...rest } = options;
    const paths = await issueCertificate({ dir: caDir, name, ...rest });
    const read = (path: string): Promise<string> => readFile(path, 'utf8');
    return {
      ca: await read(join(caDir, 'ca.crt')),
      cert: await read(paths.certificatePath),
      key: await read(paths.keyPath),
    };
  }

  /** Answers what the server saw of the client, or throws the reason why either side refused the other. */
  async function handshake(serverSide: Identity, clientSide: Identity, host = 'localhost'): Promise<string> {
    // The server refuses by itself, because with rejectUnauthorized it would only say that the socket hung up.
    const server = createServer({ ...serverSide, requestCert: true, rejectUnauthorized: false, minVersion: 'TLSv1.3' });
    server.on('secureConnection', (socket: TLSSocket) => {
      socket.on('error', () => undefined);
      const seen = `${socket.getProtocol()} ${socket.getPeerCertificate().subject.CN}`;
      socket.end(socket.authorized ? seen : `refused: ${String(socket.authorizationError)}`);
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const address = server.address();
    if (address === null || typeof address === 'string') throw new Error('the server has no port');
    const { port } = address;
    const client = connect({ ...clientSide, host: '127.0.0.1', port, servername: host, minVersion: 'TLSv1.3' });
    try {
      const answer = await readAll(client);
      if (answer.startsWith('refused')) throw new Error(answer);
      return answer;
    } finally {
      client.destroy();
      server.close();
    }
  }

  async function readAll(socket: TLSSocket): Promise<string> {
    let text = '';
    for await (const chunk of socket) text += String(chunk);
    return text;
  }

  beforeEach(async () => {
    await initCa({ dir, now: daysAgo(100) });
  });

  test('stands between two certificates of one authority, whichever is the server', async () => {
    const [receiver, agent] = [await identity('receiver'), await identity('agent')];
    expect(await handshake(receiver, agent)).toBe('TLSv1.3 agent');
    expect(await handshake(agent, receiver)).toBe('TLSv1.3 receiver');
    expect(await handshake(receiver, agent, 'receiver')).toBe('TLSv1.3 agent');
  });

  test('fails for a host the server is not', async () => {
    await expect(handshake(await identity('receiver'), await identity('agent'), 'elsewhere')).rejects.toThrow(
      /does not match/,
    );
  });

  test('fails for a client of another authority, even one of the same name', async () => {
    const caDir = join(dir, 'other');
    await initCa({ dir: caDir });
    const [receiver, stranger] = [await identity('receiver'), await identity('agent', { caDir })];
    await expect(handshake(receiver, { ...stranger, ca: receiver.ca })).rejects.toThrow(
      /refused: .*(VERIFY|ISSUER|SIGNATURE)/,
    );
    await expect(handshake(receiver, stranger)).rejects.toMatchObject({ code: 'SELF_SIGNED_CERT_IN_CHAIN' });
  });

  test('fails for a client, and for a server, whose certificate has ended', async () => {
    const [receiver, expired] = [await identity('receiver'), await identity('late', { days: 10, now: daysAgo(11) })];
    await expect(handshake(receiver, expired)).rejects.toThrow('refused: CERT_HAS_EXPIRED');
    await expect(handshake(expired, receiver)).rejects.toThrow(/expired/);
  });

  test('fails for a client whose certificate has not begun', async () => {
    const [receiver, early] = [await identity('receiver'), await identity('early', { now: daysAgo(-2) })];
    await expect(handshake(receiver, early)).rejects.toThrow('refused: CERT_NOT_YET_VALID');
  });
});

describe.runIf(openssl)('openssl', () => {
  const verify = (purpose: string, ca: string, leaf: string): Promise<unknown> =>
    run('openssl', ['verify', '-x509_strict', '-purpose', purpose, '-CAfile', join(dir, ca), join(dir, leaf)]);

  test.each(['sslserver', 'sslclient'])('strictly verifies a certificate as %s', async (purpose) => {
    await initCa({ dir });
    await issueCertificate({ dir, name: 'receiver', hosts: ['::1', 'a.example'] });
    await verify(purpose, 'ca.crt', 'receiver.crt');
  });

  test('refuses one of another authority', async () => {
    await initCa({ dir });
    await initCa({ dir: join(dir, 'other') });
    await issueCertificate({ dir, name: 'receiver' });
    await expect(verify('sslserver', join('other', 'ca.crt'), 'receiver.crt')).rejects.toThrow();
  });

  test('shows the constraints of the authority and the links between both', async () => {
    await initCa({ dir });
    await issueCertificate({ dir, name: 'receiver', hosts: ['10.0.0.5'] });
    const text = async (name: string): Promise<string> =>
      (await run('openssl', ['x509', '-noout', '-text', '-in', join(dir, name)])).stdout;
    const [ca, leaf] = [await text('ca.crt'), await text('receiver.crt')];
    expect(ca).toMatch(/Basic Constraints: critical\s+CA:TRUE, pathlen:0/);
    expect(ca).toMatch(/Key Usage: critical\s+Certificate Sign, CRL Sign/);
    expect(leaf).toMatch(/Basic Constraints: critical\s+CA:FALSE/);
    expect(leaf).toMatch(/Key Usage: critical\s+Digital Signature\n/);
    expect(leaf).toMatch(/Subject Alternative Name: \s+DNS:receiver, IP Address:10.0.0.5/);
    const identifier = (kind: string, from: string): string | undefined =>
      new RegExp(`${kind} Key Identifier: \\s+([0-9A-F:]+)`).exec(from)?.[1];
    expect(identifier('Authority', leaf)).toBe(identifier('Subject', ca));
    expect(identifier('Subject', leaf)).toMatch(/^([0-9A-F]{2}:){19}[0-9A-F]{2}$/);
  });
});
