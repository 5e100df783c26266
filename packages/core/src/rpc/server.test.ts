import { mkdir, mkdtemp, readFile, rename, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { createServer as createNetServer, type AddressInfo, type Server as NetServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fromBinary } from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt';
import { credentials, loadPackageDefinition, ServerCredentials, type Client, type GrpcObject } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { protoPath as healthProto } from 'grpc-health-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FerryError } from '../errors/ferry-error.js';
import { callUnary } from './calls.js';
import type { RpcServer } from './server.js';
import { createClient, createTestServer } from './service-pair.js';

let dir: string;
let path: string;
const servers: RpcServer[] = [];
const others: NetServer[] = [];
const clients: Client[] = [];

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'rbdferry-server-'));
  path = join(dir, 'agent.sock');
});

afterEach(async () => {
  for (const client of clients.splice(0)) client.close();
  await Promise.all(servers.splice(0).map((server) => server.stop(50)));
  for (const other of others.splice(0)) other.close();
  await rm(dir, { recursive: true, force: true });
});

const hello = { protocolMin: 1, protocolMax: 1, software: 'test', capabilities: [] };
const never = new Promise<never>(() => {});

const server = (): RpcServer => {
  const made = createTestServer(({ unary }) => ({
    handshake: unary(({ software }) =>
      software === 'hang'
        ? never
        : Promise.resolve({
            protocol: 1,
            software: 'here',
            capabilities: [],
            stores: [],
            client: '',
            timeMs: 0n,
            policies: {},
          }),
    ),
  }));
  servers.push(made);
  return made;
};

const greet = async (target: string, software = 'test'): Promise<string> => {
  const client = createClient(target);
  clients.push(client);
  const peer = { unreachable: 'AGENT_UNREACHABLE', peer: 'the agent' } as const;
  return (await callUnary(client.handshake.bind(client), { ...hello, software }, { peer, timeoutMs: 5_000 })).software;
};

const failureOf = async (step: Promise<unknown>): Promise<FerryError> => {
  const thrown = await step.then(
    () => new Error('expected a failure'),
    (thrown: unknown) => thrown,
  );
  if (thrown instanceof FerryError) return thrown;
  throw thrown;
};

/** A socket file that nobody listens on, as a killed daemon leaves it. */
const leaveStaleSocket = async (at: string): Promise<void> => {
  const other = createNetServer();
  await new Promise<void>((resolve) => {
    other.listen(`${at}.x`, resolve);
  });
  await rename(`${at}.x`, at);
  await new Promise((resolve) => other.close(resolve));
};

describe('a unix socket', () => {
  it('is open to its owner and group, and to nobody else', async () => {
    const before = process.umask();
    await server().listenUnix(path);
    expect((await stat(path)).mode & 0o777).toBe(0o660);
    expect(process.umask()).toBe(before);
    expect(await greet(`unix:${path}`)).toBe('here');
  });

  it('that a killed daemon left is taken over', async () => {
    await leaveStaleSocket(path);
    await server().listenUnix(path);
    expect(await greet(`unix:${path}`)).toBe('here');
    expect((await stat(path)).mode & 0o777).toBe(0o660);
  });

  it('that somebody listens on is refused, and goes on working', async () => {
    await server().listenUnix(path);
    const error = await failureOf(server().listenUnix(path));
    expect(error.code).toBe('CONFIG_INVALID');
    expect(error.message).toContain(path);
    expect(await greet(`unix:${path}`)).toBe('here');
  });

  it('is never put in the place of a file that is no socket', async () => {
    await writeFile(path, 'precious');
    const error = await failureOf(server().listenUnix(path));
    expect(error.code).toBe('CONFIG_INVALID');
    expect(await readFile(path, 'utf8')).toBe('precious');
  });

  it('is never put in the place of a directory or a link', async () => {
    await mkdir(path);
    expect((await failureOf(server().listenUnix(path))).code).toBe('CONFIG_INVALID');
    const link = join(dir, 'link.sock');
    await writeFile(join(dir, 'target'), 'precious');
    await symlink(join(dir, 'target'), link);
    expect((await failureOf(server().listenUnix(link))).code).toBe('CONFIG_INVALID');
    expect(await readFile(link, 'utf8')).toBe('precious');
  });

  it('in a directory that is not there makes it, closed to others', async () => {
    const missing = join(dir, 'run', 'agent.sock');
    await server().listenUnix(missing);
    expect((await stat(join(dir, 'run'))).mode & 0o777).toBe(0o750);
    expect(await greet(`unix:${missing}`)).toBe('here');
  });

  it('in a directory that cannot be made is refused, and the directory named', async () => {
    const error = await failureOf(server().listenUnix(join(dir, 'no', 'run', 'agent.sock')));
    expect(error.code).toBe('CONFIG_INVALID');
    expect(error.message).toContain(join(dir, 'no', 'run'));
  });

  it('with a name that is too long for the system is refused', async () => {
    const error = await failureOf(server().listenUnix(join(dir, 'x'.repeat(150))));
    expect(error.code).toBe('CONFIG_INVALID');
  });

  it('is gone after a stop, so that the next start finds nothing', async () => {
    const first = server();
    await first.listenUnix(path);
    await first.stop(50);
    await expect(stat(path)).rejects.toThrow('ENOENT');
  });
});

describe('a TCP address', () => {
  it.each(['localhost:0', '127.0.0.1:0', '0.0.0.0:0'])('%s is bound, and its port told', async (address) => {
    const port = await server().listenTls(address, ServerCredentials.createInsecure());
    expect(port).toBeGreaterThan(0);
    expect(await greet(`127.0.0.1:${port}`)).toBe('here');
  });

  it('in use is refused', async () => {
    const other = createNetServer();
    others.push(other);
    await new Promise<void>((resolve) => {
      other.listen(0, '127.0.0.1', resolve);
    });
    const { port } = other.address() as AddressInfo;
    const listening = server().listenTls(`127.0.0.1:${port}`, ServerCredentials.createInsecure());
    const error = await failureOf(listening);
    expect(error.code).toBe('CONFIG_INVALID');
    expect(error.message).toContain(String(port));
  });

  it.each(['127.0.0.1:70000', '192.0.2.1:0', 'no-such-host.invalid:0', '', ':::', '127.0.0.1:x'])(
    '%j is refused',
    async (address) => {
      const error = await failureOf(server().listenTls(address, ServerCredentials.createInsecure()));
      expect(error.code).toBe('CONFIG_INVALID');
      expect(error.message).toContain(JSON.stringify(address));
    },
  );
});

/** A client made from .proto files alone, as a tool like grpcurl would be. */
const toolClient = (proto: string, service: string): Client => {
  const packages = loadPackageDefinition(loadSync(proto, { defaults: true, keepCase: true }));
  const found = service.split('.').reduce<unknown>((at, name) => (at as GrpcObject)[name], packages);
  const made = new (found as new (...args: ConstructorParameters<typeof Client>) => Client)(
    `unix:${path}`,
    credentials.createInsecure(),
  );
  clients.push(made);
  return made;
};

describe('health checks', () => {
  type Health = Client & {
    check(
      request: { service: string },
      done: (error: { code: number } | null, answer?: { status: string }) => void,
    ): void;
  };
  const check = (service: string): Promise<string | number> =>
    new Promise((resolve, reject) => {
      const client = toolClient(healthProto, 'grpc.health.v1.Health') as Health;
      client.check({ service }, (error, answer) => {
        if (error !== null) resolve(error.code);
        else if (answer !== undefined) resolve(answer.status);
        else reject(new Error('no answer'));
      });
    });

  it('say that the server and its service are there', async () => {
    await server().listenUnix(path);
    // The enum arrives as its number: SERVING is 1; NOT_FOUND is gRPC status 5.
    expect(await check('')).toBe(1);
    expect(await check('rbdferry.v1.TransferService')).toBe(1);
    expect(await check('rbdferry.v1.NoService')).toBe(5);
  });

  it('say NOT_SERVING while the service is not well', async () => {
    const own = server();
    await own.listenUnix(path);
    own.setServing(false);
    expect(await check('rbdferry.v1.TransferService')).toBe(2);
    expect(await check('')).toBe(2);
    own.setServing(true);
    expect(await check('')).toBe(1);
  });
});

describe('reflection', () => {
  interface Answer {
    list_services_response?: { service: { name: string }[] };
    file_descriptor_response?: { file_descriptor_proto: Buffer[] };
    error_response?: { error_message: string };
  }
  type Reflection = Client & {
    serverReflectionInfo(): {
      on(event: 'data', listener: (answer: Answer) => void): unknown;
      on(event: 'error', listener: (error: Error) => void): unknown;
      write(request: object): void;
      end(): void;
    };
  };
  const protos = join(
    dirname(createRequire(import.meta.url).resolve('@grpc/reflection')),
    '..',
    'proto',
    'grpc',
    'reflection',
  );
  const ask = (version: 'v1' | 'v1alpha', request: object): Promise<Answer> =>
    new Promise((resolve, reject) => {
      const client = toolClient(
        join(protos, version, 'reflection.proto'),
        `grpc.reflection.${version}.ServerReflection`,
      ) as Reflection;
      const call = client.serverReflectionInfo();
      call.on('data', resolve);
      call.on('error', reject);
      call.write(request);
      call.end();
    });

  it.each(['v1', 'v1alpha'] as const)('lists the services and describes ours, %s', async (version) => {
    await server().listenUnix(path);
    const { list_services_response: list } = await ask(version, { list_services: '' });
    const names = list?.service.map(({ name }) => name) ?? [];
    expect(names).toEqual(expect.arrayContaining(['rbdferry.v1.TransferService', 'grpc.health.v1.Health']));
    const described = await ask(version, { file_containing_symbol: 'rbdferry.v1.TransferService' });
    const files = described.file_descriptor_response?.file_descriptor_proto.map(String).join('') ?? '';
    expect(files).toContain('OpenPushRequest');
    expect(files).toContain('SourceFacts');
  });

  it('serves the files as they were compiled, which strict clients insist on', async () => {
    await server().listenUnix(path);
    const described = await ask('v1', { file_containing_symbol: 'rbdferry.v1.TransferService' });
    const files = (described.file_descriptor_response?.file_descriptor_proto ?? []).map((bytes) =>
      fromBinary(FileDescriptorProtoSchema, bytes),
    );
    expect(files.map(({ name }) => name)).toEqual(['rbdferry/v1/transfer.proto', 'rbdferry/v1/model.proto']);
    const messages = files.flatMap(({ messageType }) => messageType);
    const facts = messages.find(({ name }) => name === 'SourceFacts');
    // Go's protobuf refuses a file whose map entries have any other name.
    expect(facts?.nestedType.map(({ name }) => name)).toEqual(['MetadataEntry']);
    const typeNames = messages
      .flatMap(({ field }) => field.map(({ typeName }) => typeName))
      .filter((name) => name !== '');
    expect(typeNames.filter((name) => !name.startsWith('.'))).toEqual([]);
  });
});

describe('a stop', () => {
  const timed = async (step: Promise<void>): Promise<number> => {
    const started = performance.now();
    await step;
    return performance.now() - started;
  };

  it('is quick when nothing is under way, though a client is still connected', async () => {
    const stopping = server();
    await stopping.listenUnix(path);
    await greet(`unix:${path}`);
    expect(await timed(stopping.stop(5_000))).toBeLessThan(1_000);
  });

  it('breaks a call that hangs off when the grace is over, and not before', async () => {
    const stopping = server();
    await stopping.listenUnix(path);
    const hanging = failureOf(greet(`unix:${path}`, 'hang'));
    await greet(`unix:${path}`);
    const ms = await timed(stopping.stop(400));
    expect(ms).toBeGreaterThan(390);
    expect(ms).toBeLessThan(1_500);
    expect((await hanging).code).toBe('CONNECTION_LOST');
  });

  it('lets nobody in any more', async () => {
    const stopping = server();
    await stopping.listenUnix(path);
    await stopping.stop(50);
    expect((await failureOf(greet(`unix:${path}`))).code).toBe('AGENT_UNREACHABLE');
  });

  it('may be asked for twice', async () => {
    const stopping = server();
    await stopping.listenUnix(path);
    await Promise.all([stopping.stop(50), stopping.stop(50)]);
    await stopping.stop(50);
  });
});
