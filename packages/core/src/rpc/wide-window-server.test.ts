import {
  connect as connectHttp2,
  type ClientHttp2Session,
  type SecureClientSessionOptions,
  type Settings,
} from 'node:http2';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as connectTcp, createServer as createRelay, type AddressInfo } from 'node:net';
import { connect as connectTls, type ConnectionOptions } from 'node:tls';
import { Server, ServerCredentials } from '@grpc/grpc-js';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { initCa } from '../../../cli/src/pki/authority.js';
import { issueCertificate } from '../../../cli/src/pki/issue-certificate.js';
import { transferDefinition } from './hot-data.js';
import { serverOptions } from './options.js';
import { serverCredentials } from './tls.js';
import { WideWindowServer, type ConnectionFacts } from './wide-window-server.js';
import { defaultWindowBytes, widestWindowBytes } from './window.js';

/** What a client of the server really meets, seen by an HTTP/2 client that is not grpc-js. */

let dir: string;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'rbdferry-window-'));
  for (const pki of ['ours', 'theirs']) {
    await initCa({ dir: join(dir, pki) });
    await issueCertificate({ dir: join(dir, pki), name: 'peer' });
  }
});

afterAll(async () => {
  await rm(dir, { recursive: true, force: true });
});

const running: { server: Server; sessions: ClientHttp2Session[] } = { server: new Server(), sessions: [] };

afterEach(() => {
  for (const session of running.sessions) session.destroy();
  running.sessions = [];
  running.server.forceShutdown();
});

const clientFiles = async (pki: 'ours' | 'theirs'): Promise<SecureClientSessionOptions> => ({
  ca: await readFile(join(dir, 'ours', 'ca.crt')),
  cert: await readFile(join(dir, pki, 'peer.crt')),
  key: await readFile(join(dir, pki, 'peer.key')),
});

/** A push that is never read, so that everything sent stays within the windows. */
const listen = async (server: Server, credentials?: ServerCredentials): Promise<number> => {
  running.server = server;
  server.addService(transferDefinition, { push: () => {} });
  const [ca, cert, key] = ['ca.crt', 'peer.crt', 'peer.key'].map((file) => join(dir, 'ours', file));
  const creds = credentials ?? (await serverCredentials({ ca: ca ?? '', cert: cert ?? '', key: key ?? '' }));
  return new Promise((resolve, reject) => {
    server.bindAsync('localhost:0', creds, (error, port) => {
      if (error === null) resolve(port);
      else reject(error);
    });
  });
};

const open = (url: string, options: SecureClientSessionOptions) => {
  const session = connectHttp2(url, options);
  running.sessions.push(session);
  const settings = new Promise<Settings>((resolve, reject) => {
    session.once('remoteSettings', resolve);
    session.once('error', reject);
    session.once('close', () => {
      reject(new Error('closed before any settings came'));
    });
  });
  return { session, settings };
};

const chunkBytes = 16 * 1024;

/** Bytes that the client gets rid of in one upload before it has to wait for the server, which reads nothing. */
const bytesTaken = async (session: ClientHttp2Session): Promise<number> => {
  const stream = session.request({
    ':method': 'POST',
    ':path': '/rbdferry.v1.TransferService/Push',
    'content-type': 'application/grpc',
    te: 'trailers',
  });
  stream.on('error', () => {});
  for (let taken = 0; ; taken += chunkBytes) {
    const sent = new Promise((resolve) => stream.write(Buffer.alloc(chunkBytes), resolve));
    if ((await Promise.race([sent, after(250)])) === 'blocked') return taken;
  }
};

const after = (ms: number): Promise<'blocked'> =>
  new Promise((resolve) => {
    setTimeout(resolve, ms, 'blocked');
  });

/** The server reads ahead a little before it notices that nobody takes the data. */
const expectWindow = (bytes: number, window: number): void => {
  expect(bytes).toBeGreaterThanOrEqual(window - chunkBytes);
  expect(bytes).toBeLessThan(window + 512 * 1024);
};

const MiB = 1024 * 1024;
const wide = () => new WideWindowServer({ window: 'auto' }, serverOptions);

describe('the window of the server', () => {
  it.each([
    ['with TLS', 'https', undefined],
    ['without TLS', 'http', ServerCredentials.createInsecure()],
  ])('is wide for the stream and for the connection, %s', async (_, scheme, credentials) => {
    const port = await listen(wide(), credentials);
    const { session, settings } = open(`${scheme}://localhost:${port}`, await clientFiles('ours'));
    expect((await settings).initialWindowSize).toBe(defaultWindowBytes);
    await vi.waitFor(() => {
      expect(session.state.remoteWindowSize).toBe(defaultWindowBytes);
    });
    // And it is not only said: an upload is not held up after 64 KiB.
    expectWindow(await bytesTaken(session), defaultWindowBytes);
  });

  it('is what was asked for', async () => {
    const port = await listen(new WideWindowServer({ window: 3 * MiB }));
    const { session, settings } = open(`https://localhost:${port}`, await clientFiles('ours'));
    expect((await settings).initialWindowSize).toBe(3 * MiB);
    expectWindow(await bytesTaken(session), 3 * MiB);
  });

  it('keeps the other options of the server', async () => {
    const port = await listen(
      new WideWindowServer({ window: MiB }, { ...serverOptions, 'grpc.max_concurrent_streams': 7 }),
    );
    const { settings } = open(`https://localhost:${port}`, await clientFiles('ours'));
    expect(await settings).toMatchObject({ initialWindowSize: MiB, maxConcurrentStreams: 7 });
  });

  it('would be 64 KiB with grpc-js alone: when this fails, look whether our subclass is still needed', async () => {
    const port = await listen(new Server({ ...serverOptions, 'grpc-node.flow_control_window': defaultWindowBytes }));
    const { session, settings } = open(`https://localhost:${port}`, await clientFiles('ours'));
    expect((await settings).initialWindowSize).toBe(65_535);
    expectWindow(await bytesTaken(session), 65_535);
  });
});

describe('the window of a server that knows how far its client is', () => {
  /** Delays what goes to and from the port, by half a round trip each way. */
  const farFrom = async (port: number, roundTripMs: number): Promise<number> => {
    const relay = createRelay((near) => {
      const far = connectTcp(port, 'localhost');
      for (const [from, to] of [
        [near, far],
        [far, near],
      ] as const) {
        from.on('data', (data: Buffer) => setTimeout(() => to.write(data), roundTripMs / 2));
        from.on('error', () => {});
        from.on('close', () => to.destroy());
      }
    });
    relays.push(relay);
    await new Promise<void>((resolve) => {
      relay.listen(0, 'localhost', resolve);
    });
    return (relay.address() as AddressInfo).port;
  };
  const relays: ReturnType<typeof createRelay>[] = [];
  afterEach(() => {
    for (const relay of relays.splice(0)) relay.close();
  });

  const push = '/rbdferry.v1.TransferService/Push';
  const begin = (session: ClientHttp2Session, path: string): void => {
    session.request({ ':method': 'POST', ':path': path, 'content-type': 'application/grpc' }).on('error', () => {});
  };
  /** Long enough that a window for it is the widest, however quick the machine is. */
  const roundTripMs = 120;
  const following = () => {
    const facts: ConnectionFacts[] = [];
    const server = new WideWindowServer(
      { window: 'auto', bulkPath: push, onConnection: (fact) => facts.push(fact) },
      serverOptions,
    );
    return { server, facts };
  };

  it('is widened for a push, for the stream and for the connection, and an upload feels it', async () => {
    const { server, facts } = following();
    const port = await farFrom(await listen(server), roundTripMs);
    const { session, settings } = open(`https://localhost:${port}`, await clientFiles('ours'));
    await settings;
    begin(session, push);
    await vi.waitFor(() => {
      expect(session.remoteSettings.initialWindowSize).toBe(widestWindowBytes);
      expect(session.state.remoteWindowSize).toBe(widestWindowBytes);
    }, 5_000);
    expectWindow(await bytesTaken(session), widestWindowBytes);
    expect(facts.map(({ client, windowBytes }) => ({ client, windowBytes }))).toEqual([
      { client: 'peer', windowBytes: defaultWindowBytes },
      { client: 'peer', windowBytes: widestWindowBytes },
    ]);
    expect(facts[0]?.roundTripMs).toBeGreaterThanOrEqual(roundTripMs);
  });

  it('is not widened for a client that does not push', async () => {
    const { server, facts } = following();
    const port = await farFrom(await listen(server), roundTripMs);
    const { session, settings } = open(`https://localhost:${port}`, await clientFiles('ours'));
    await settings;
    begin(session, '/rbdferry.v1.TransferService/ListChains');
    await after(4 * roundTripMs);
    expect(session.remoteSettings.initialWindowSize).toBe(defaultWindowBytes);
    expect(facts).toHaveLength(1);
  });

  it('of two far clients is bounded together, until the first is gone', async () => {
    const { server } = following();
    const port = await farFrom(await listen(server), roundTripMs);
    const windowOf = async (): Promise<{ session: ClientHttp2Session; bytes: number }> => {
      const { session, settings } = open(`https://localhost:${port}`, await clientFiles('ours'));
      await settings;
      const widened = new Promise<Settings>((resolve) => session.once('remoteSettings', resolve));
      begin(session, push);
      return { session, bytes: (await widened).initialWindowSize ?? 0 };
    };
    const first = await windowOf();
    expect(first.bytes).toBe(widestWindowBytes);
    const second = await windowOf();
    expect(second.bytes).toBe(32 * MiB);
    first.session.destroy();
    await after(3 * roundTripMs);
    expect((await windowOf()).bytes).toBe(widestWindowBytes);
    expect(second.session.remoteSettings.initialWindowSize).toBe(32 * MiB);
  });
});

describe('the TLS of the server', () => {
  const handshake = (port: number, options: ConnectionOptions): Promise<string | null> =>
    new Promise((resolve, reject) => {
      const socket = connectTls({ host: 'localhost', port, ALPNProtocols: ['h2'], ...options }, () => {
        resolve(socket.getProtocol());
        socket.destroy();
      });
      socket.once('error', reject);
    });

  it('is 1.3', async () => {
    const port = await listen(wide());
    expect(await handshake(port, await clientFiles('ours'))).toBe('TLSv1.3');
  });

  it('is nothing older', async () => {
    const port = await listen(wide());
    const old = { ...(await clientFiles('ours')), maxVersion: 'TLSv1.2' } as const;
    await expect(handshake(port, old)).rejects.toThrow(/protocol version/);
  });

  it('would be 1.2 as well with grpc-js alone', async () => {
    const port = await listen(new Server(serverOptions));
    const old = { ...(await clientFiles('ours')), maxVersion: 'TLSv1.2' } as const;
    expect(await handshake(port, old)).toBe('TLSv1.2');
  });

  /** All that the server says before it closes the connection. */
  const saidUntilClosed = (port: number, options: ConnectionOptions): Promise<Buffer> =>
    new Promise((resolve) => {
      const said: Buffer[] = [];
      const socket = connectTls({ host: 'localhost', port, ALPNProtocols: ['h2'], ...options }, () => {
        socket.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
      });
      socket.on('data', (data: Buffer) => said.push(data));
      socket.on('error', () => {});
      socket.on('close', () => {
        resolve(Buffer.concat(said));
      });
    });

  it('refuses a client without a certificate, before a word of HTTP/2', async () => {
    const port = await listen(wide());
    const { ca } = await clientFiles('ours');
    expect(await saidUntilClosed(port, ca === undefined ? {} : { ca })).toHaveLength(0);
  });

  it('refuses a client with a certificate of another CA, before a word of HTTP/2', async () => {
    const port = await listen(wide());
    expect(await saidUntilClosed(port, await clientFiles('theirs'))).toHaveLength(0);
  });
});
