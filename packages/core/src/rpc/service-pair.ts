import { mkdtemp, rm } from 'node:fs/promises';
import {
  connect,
  createServer as createRelay,
  type ListenOptions,
  type NetConnectOpts,
  type Server,
  type Socket,
} from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  credentials,
  makeClientConstructor,
  type ChannelCredentials,
  type ChannelOptions,
  type Client,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import type { FerryError } from '../errors/ferry-error.js';
import type { TransferServiceClient, TransferServiceServer } from '../gen/rbdferry/v1/transfer.js';
import { createHandlers, type CallContext } from './handlers.js';
import { transferDefinition } from './hot-data.js';
import { clientOptions } from './options.js';
import { createServer, type RpcServer } from './server.js';

/** For tests of this folder: a real server and real clients of the transfer service, with handlers made by the test. */
export interface ServicePair {
  readonly server: RpcServer;
  /** Address of the server's unix socket, as a target for clients. */
  readonly target: string;
  /** What the handlers' failure listener was told. */
  readonly failures: { readonly error: FerryError; readonly context: CallContext }[];
  /** A client over a connection of its own, which `cut` breaks like a dying process or a pulled plug. */
  connect(): Promise<{ readonly client: TransferServiceClient; readonly cut: () => void }>;
  /** Ends clients and server. @throws when a call is still open on the server */
  stop(): Promise<void>;
}

export type TestHandlers = (
  wrap: ReturnType<typeof createHandlers>,
) => Partial<TransferServiceServer> & UntypedServiceImplementation;

const TransferClient = makeClientConstructor(transferDefinition, 'rbdferry.v1.TransferService') as unknown as new (
  ...args: ConstructorParameters<typeof Client>
) => TransferServiceClient;

export const createClient = (
  target: string,
  creds: ChannelCredentials = credentials.createInsecure(),
  more: ChannelOptions = {},
): TransferServiceClient => new TransferClient(target, creds, { ...clientOptions(), ...more });

export const createTestServer = (handlers: TestHandlers, failures: ServicePair['failures'] = []): RpcServer => {
  const server = createServer({ proto: 'rbdferry/v1/transfer.proto', service: 'rbdferry.v1.TransferService' });
  const wrap = createHandlers((error, context) => failures.push({ error, context }));
  server.grpc.addService(transferDefinition, handlers(wrap));
  return server;
};

export const startPair = async (handlers: TestHandlers): Promise<ServicePair> => {
  const dir = await mkdtemp(join(tmpdir(), 'rbdferry-rpc-'));
  const path = join(dir, 'server.sock');
  const failures: ServicePair['failures'] = [];
  const server = createTestServer(handlers, failures);
  await server.listenUnix(path);
  const clients: TransferServiceClient[] = [];
  const relays: Relay[] = [];
  return {
    server,
    target: `unix:${path}`,
    failures,
    async connect() {
      const relayPath = join(dir, `relay-${relays.length}.sock`);
      const relay = await startRelay({ path: relayPath }, { path });
      relays.push(relay);
      const client = createClient(`unix:${relayPath}`);
      clients.push(client);
      return { client, cut: relay.cut };
    },
    async stop() {
      for (const client of clients) client.close();
      const leaked = await Promise.race([ended(server), after(3_000)]);
      server.grpc.forceShutdown();
      for (const relay of relays) relay.stop();
      await rm(dir, { recursive: true, force: true });
      if (leaked === 'late') throw new Error('a call is still open on the server, 3 s after the last client closed');
    },
  };
};

const ended = (server: RpcServer): Promise<'ended'> =>
  new Promise((resolve, reject) => {
    server.grpc.tryShutdown((error) => {
      if (error === undefined) resolve('ended');
      else reject(error);
    });
  });

const after = (ms: number): Promise<'late'> =>
  new Promise((resolve) => {
    setTimeout(resolve, ms, 'late').unref();
  });

export interface Relay {
  /** Where it listens; null on a unix socket. */
  readonly port: number | null;
  readonly cut: () => void;
  /** Takes nothing more until the side that sends has filled what the kernel holds, then resets both connections (TCP). */
  readonly resetOnceFull: () => Promise<void>;
  readonly stop: () => void;
}

/** Passes bytes from one socket to another. */
export const startRelay = async (from: ListenOptions, to: NetConnectOpts): Promise<Relay> => {
  const sockets = new Set<Socket>();
  const hold = (socket: Socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => sockets.delete(socket));
  };
  const relay: Server = createRelay((near) => {
    const far = connect(to);
    hold(near);
    hold(far);
    near.on('close', () => far.destroy());
    far.on('close', () => near.destroy());
    near.pipe(far);
    far.pipe(near);
  });
  await new Promise<void>((resolve) => {
    relay.listen(from, resolve);
  });
  const address = relay.address();
  const cut = () => {
    for (const socket of sockets) socket.destroy();
  };
  return {
    port: typeof address === 'object' && address !== null ? address.port : null,
    cut,
    async resetOnceFull() {
      for (const socket of sockets) socket.unpipe().pause();
      await sleep(500);
      for (const socket of sockets) socket.resetAndDestroy();
    },
    stop() {
      cut();
      relay.close();
    },
  };
};
