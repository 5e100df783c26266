import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { constants, createSecureServer, type SecureServerOptions, type ServerHttp2Stream } from 'node:http2';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { initCa } from '../../../cli/src/pki/authority.js';
import { issueCertificate } from '../../../cli/src/pki/issue-certificate.js';
import { FerryError } from '../errors/ferry-error.js';
import { PullRequest, type PullResponse, type PushRequest, type PushResponse } from '../gen/rbdferry/v1/transfer.js';
import { callClientStream, callServerStream, callUnary } from './calls.js';
import { createClient, createTestServer, type ServicePair } from './service-pair.js';
import { clientCredentials, serverCredentials } from './tls.js';

/** What both ends say when bytes change on the way between them: TLS finds it, and the connection is broken. */

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'rbdferry-wire-'));
  await initCa({ dir });
  await issueCertificate({ dir, name: 'receiver', hosts: ['localhost'] });
  await issueCertificate({ dir, name: 'agent1' });
});
afterAll(() => rm(dir, { recursive: true, force: true }));

const opened: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of opened.splice(0).toReversed()) await close();
});

const filesOf = (name: string) => ({
  ca: join(dir, 'ca.crt'),
  cert: join(dir, `${name}.crt`),
  key: join(dir, `${name}.key`),
});

type Direction = 'up' | 'down';
type Damage = (bytes: Buffer, at: number) => Buffer;

/** Passes bytes on, with a damage in one direction. @param port of the server @returns its own port */
const damagingRelay = async (port: number, direction: Direction, damage: Damage): Promise<number> => {
  const hold = (socket: Socket) => {
    opened.push(() => socket.destroy());
    return socket.on('error', () => {});
  };
  const relay = createServer((near) => {
    const far = connect(port, 'localhost');
    const pass = (from: Socket, to: Socket, change: Damage) => {
      let at = 0;
      hold(from).on('close', () => to.destroy());
      from.on('data', (bytes) => {
        to.write(change(bytes, at));
        at += bytes.length;
      });
    };
    const same: Damage = (bytes) => bytes;
    pass(near, far, direction === 'up' ? damage : same);
    pass(far, near, direction === 'down' ? damage : same);
  });
  await new Promise<void>((resolve) => {
    relay.listen(0, resolve);
  });
  opened.push(() => relay.close());
  return (relay.address() as AddressInfo).port;
};

const flip =
  (offset: number, bit = 1): Damage =>
  (bytes, at) => {
    if (offset < at || offset >= at + bytes.length) return bytes;
    const changed = Buffer.from(bytes);
    changed.writeUInt8(changed.readUInt8(offset - at) ^ bit, offset - at);
    return changed;
  };

const chunk = Buffer.alloc(1024 * 1024, 7);
const chunks = 12;

const start = async (direction: Direction, damage: Damage) => {
  const failures: ServicePair['failures'] = [];
  const server = createTestServer(
    ({ unary, clientStream, serverStream }) => ({
      handshake: unary(() =>
        Promise.resolve({ protocol: 1, software: '', capabilities: [], stores: [], client: '', policies: {} }),
      ),
      push: clientStream<PushRequest, PushResponse>(async (requests) => {
        for await (const request of requests) void request;
        return { backup: undefined };
      }),
      pull: serverStream<PullRequest, PullResponse>(async function* () {
        for (let sent = 0; sent < chunks; sent += 1) {
          yield { part: { $case: 'data', value: chunk } };
          await new Promise(setImmediate);
        }
      }),
    }),
    failures,
  );
  opened.push(() => server.stop(100));
  const port = await server.listenTls('localhost:0', await serverCredentials(filesOf('receiver')));
  const relay = await damagingRelay(port, direction, damage);
  const client = createClient(`localhost:${relay}`, await clientCredentials(filesOf('agent1')));
  opened.push(() => {
    client.close();
  });
  return { client, failures };
};

type Started = Awaited<ReturnType<typeof start>>;
const peer = { unreachable: 'RECEIVER_UNREACHABLE', peer: 'receiver "dr"' } as const;
const settings = { peer, timeoutMs: 20_000 };

const calls = {
  handshake: ({ client }: Started, timeoutMs = 20_000): Promise<unknown> =>
    callUnary(
      client.handshake.bind(client),
      { protocolMin: 1, protocolMax: 1, software: 'test', capabilities: [] },
      { peer, timeoutMs },
    ),
  push: async ({ client }: Started): Promise<unknown> => {
    const call = callClientStream<PushRequest, PushResponse>(
      (metadata, options, callback) => client.push(metadata, options, callback),
      settings,
    );
    for (let sent = 0; sent < chunks; sent += 1) await call.write({ part: { $case: 'data', value: chunk } });
    return call.finish();
  },
  pull: async ({ client }: Started): Promise<unknown> => {
    const request = PullRequest.fromPartial({ backupId: 'x' });
    let received = 0;
    for await (const message of callServerStream<PullResponse>(
      (metadata, options) => client.pull(request, metadata, options),
      settings,
    ))
      received += message.part?.$case === 'data' ? message.part.value.length : 0;
    return received;
  },
};

const failureOf = async (step: Promise<unknown>): Promise<FerryError> => {
  const thrown = await step.then(
    () => new Error('expected a failure'),
    (thrown: unknown) => thrown,
  );
  if (thrown instanceof FerryError) return thrown;
  throw thrown;
};

/** The server's handler may not have begun, or may have ended before; it never takes the damage for a defect. */
const expectNoDefect = ({ failures }: Started): void => {
  for (const { error } of failures) expect(error.code).toBe('CANCELLED');
};

const MiB = 1_048_576;
const damage = 'its bytes were damaged on the way (TLS: ';

describe('one bit that flips', () => {
  it.each([
    ['the head of the first record', 'up', 0],
    ["the client's hello", 'up', 60],
    ["the client's hello, behind the session", 'up', 150],
    ["the client's certificate", 'up', 700],
    ['the first request', 'up', 1500],
    ['the head of the first record', 'down', 5],
    ["the length of the server's hello", 'down', 3],
    ["the server's hello", 'down', 60],
    ["the server's certificate", 'down', 400],
    ["the server's settings", 'down', 1300],
  ] as const)('in %s (%s, byte %i) is a broken connection', async (_, direction, offset) => {
    const started = await start(direction, flip(offset));
    const error = await failureOf(calls.handshake(started));
    expect(error.code).toBe('CONNECTION_LOST');
    expect(error.message).toContain(damage);
    expectNoDefect(started);
  });

  it.each([
    ['push', 'up', 3000],
    ['push', 'up', 2 * MiB],
    ['push', 'up', 5 * MiB + 1],
    ['push', 'up', 5 * MiB + 16_406],
    ['push', 'down', 3000],
    ['pull', 'down', 3000],
    ['pull', 'down', 2 * MiB],
    ['pull', 'down', 5 * MiB + 1],
    ['pull', 'down', 5 * MiB + 16_406],
  ] as const)('in a %s (%s, byte %i) is a broken connection', async (method, direction, offset) => {
    const started = await start(direction, flip(offset));
    const error = await failureOf(calls[method](started));
    expect(error.code).toBe('CONNECTION_LOST');
    // A server that has found the damage may close before its alert is read.
    expect(error.message).toMatch(/damaged on the way \(TLS: |the connection was reset|ECONNRESET|Connection dropped/);
    expectNoDefect(started);
  });

  it('in a length of the hello, so that more is waited for, is an answer that does not come', async () => {
    // 4 KiB more: the hello of no Node is as long, and that of a newer one is longer.
    const started = await start('up', flip(3, 0x10));
    expect((await failureOf(calls.handshake(started, 2_000))).code).toBe('RECEIVER_UNREACHABLE');
  });
});

it.each([
  ['push', 'up', 3 * MiB],
  ['pull', 'down', 3 * MiB],
] as const)('bytes that get lost in a %s break it', async (method, direction, offset) => {
  const lose: Damage = (bytes, at) => (at <= offset && offset < at + bytes.length ? bytes.subarray(1) : bytes);
  const started = await start(direction, lose);
  expect((await failureOf(calls[method](started))).code).toBe('CONNECTION_LOST');
  expectNoDefect(started);
});

it.each(['up', 'down'] as const)('garbage before TLS (%s) is no defect', async (direction) => {
  const started = await start(direction, (bytes, at) =>
    at === 0 ? Buffer.concat([Buffer.from('EHLO backup.example\r\n'), bytes]) : bytes,
  );
  const { code } = await failureOf(calls.handshake(started, 5_000));
  expect(['RECEIVER_UNREACHABLE', 'TLS_FAILED', 'CONNECTION_LOST']).toContain(code);
});

describe('a stream that is broken off within TLS', () => {
  /** A server that knows our certificates and HTTP/2, and nothing of gRPC. */
  const foreign = async (onStream: (stream: ServerHttp2Stream) => void): Promise<Started> => {
    const { ca, cert, key } = filesOf('receiver');
    const [caPem, certPem, keyPem] = await Promise.all([ca, cert, key].map((path) => readFile(path)));
    const server = createSecureServer({
      ca: caPem,
      cert: certPem,
      key: keyPem,
      requestCert: true,
    } as SecureServerOptions);
    server.on('session', (session) => {
      session.on('error', () => {});
      opened.push(() => {
        session.destroy();
      });
    });
    server.on('stream', (stream) => {
      stream.on('error', () => {});
      onStream(stream);
    });
    await new Promise<void>((resolve) => {
      server.listen(0, resolve);
    });
    opened.push(() => server.close());
    const { port } = server.address() as AddressInfo;
    const client = createClient(`localhost:${port}`, await clientCredentials(filesOf('agent1')));
    opened.push(() => {
      client.close();
    });
    return { client, failures: [] };
  };

  const { NGHTTP2_PROTOCOL_ERROR, NGHTTP2_INTERNAL_ERROR, NGHTTP2_FRAME_SIZE_ERROR, NGHTTP2_ENHANCE_YOUR_CALM } =
    constants;

  it.each([
    ['PROTOCOL_ERROR', NGHTTP2_PROTOCOL_ERROR],
    ['INTERNAL_ERROR', NGHTTP2_INTERNAL_ERROR],
    ['FRAME_SIZE_ERROR', NGHTTP2_FRAME_SIZE_ERROR],
    ['ENHANCE_YOUR_CALM', NGHTTP2_ENHANCE_YOUR_CALM],
  ])('with %s', async (_, code) => {
    const started = await foreign((stream) => {
      stream.close(code);
    });
    expect((await failureOf(calls.handshake(started))).code).toBe('CONNECTION_LOST');
  });

  it('without a status', async () => {
    const started = await foreign((stream) => {
      stream.respond({ ':status': 200, 'content-type': 'application/grpc' });
      stream.end();
    });
    expect((await failureOf(calls.handshake(started))).code).toBe('CONNECTION_LOST');
  });

  it.each([400, 500, 503])('with HTTP status %i: it is something else', async (httpStatus) => {
    const started = await foreign((stream) => {
      stream.respond({ ':status': httpStatus, 'content-type': 'text/html' });
      stream.end('<html>');
    });
    const error = await failureOf(calls.handshake(started));
    expect(error.code).toBe('RECEIVER_UNREACHABLE');
    expect(error.message).toContain(`it speaks HTTP, but not gRPC: it answered with status ${httpStatus}`);
  });
});
