import { chmod, lstat, mkdir, unlink } from 'node:fs/promises';
import { connect } from 'node:net';
import { dirname } from 'node:path';
import { ServerCredentials, type Server } from '@grpc/grpc-js';
import { HealthImplementation } from 'grpc-health-check';
import { FerryError } from '../errors/ferry-error.js';
import { serverOptions } from './options.js';
import { addReflection } from './reflection.js';
import type { TlsRefusal } from './tls-refusal.js';
import { WideWindowServer, type WindowOptions } from './wide-window-server.js';

export interface RpcServer {
  /** Where services are added before `listen`. */
  readonly grpc: Server;
  /** Listens on `host:port` with TLS. @returns the port bound (asked for 0: one that was free) */
  listenTls(address: string, credentials: ServerCredentials): Promise<number>;
  /** Listens on a unix socket with permissions 0660; takes over a socket file that nobody listens on any more. */
  listenUnix(path: string): Promise<void>;
  /** What health checks are told of the service; SERVING at first. After `stop` it stays NOT_SERVING. */
  setServing(isServing: boolean): void;
  /** Says NOT_SERVING, lets calls end for this long, then breaks them off. */
  stop(graceMs: number): Promise<void>;
}

/** A server with health checking and reflection for one rbdferry service. */
export const createServer = (options: {
  /** The .proto under proto/ that declares the service, like `rbdferry/v1/transfer.proto`. */
  readonly proto: string;
  /** Full name of the service, for health checks. */
  readonly service: string;
  /** How wide flow-control windows are; grpc-js's own clients need nothing wide where no bulk comes in. */
  readonly windows?: Omit<WindowOptions, 'onRefused'>;
  /** Told of each connection that fails in the TLS handshake. */
  readonly onRefused?: (refusal: TlsRefusal) => void;
}): RpcServer => {
  const { windows = { window: 'auto' }, onRefused } = options;
  const grpc = new WideWindowServer({ ...windows, onRefused }, serverOptions);
  const health = new HealthImplementation({ '': 'SERVING', [options.service]: 'SERVING' });
  health.addToServer(grpc);
  addReflection(grpc, options.proto);
  let isStopped = false;
  const tell = (status: 'SERVING' | 'NOT_SERVING'): void => {
    health.setStatus('', status);
    health.setStatus(options.service, status);
  };
  return {
    grpc,
    listenTls: (address, credentials) => bind(grpc, address, credentials),
    listenUnix: (path) => bindUnix(grpc, path),
    setServing(isServing) {
      if (!isStopped) tell(isServing ? 'SERVING' : 'NOT_SERVING');
    },
    async stop(graceMs) {
      isStopped = true;
      tell('NOT_SERVING');
      await stopServer(grpc, graceMs);
    },
  };
};

const bind = async (server: Server, address: string, credentials: ServerCredentials): Promise<number> => {
  try {
    return await new Promise((resolve, reject) => {
      server.bindAsync(address, credentials, (error, port) => {
        if (error === null) resolve(port);
        else reject(error);
      });
    });
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new FerryError('CONFIG_INVALID', `cannot listen on ${JSON.stringify(address)}: ${why}`, {
      hint: 'is another instance running, or is the address not of this machine?',
      cause,
    });
  }
};

/** What fits into a socket's address; Node cuts a longer path without a word, and listens somewhere else. */
const maxSocketPathBytes = 107;

const bindUnix = async (server: Server, path: string): Promise<void> => {
  if (Buffer.byteLength(path) > maxSocketPathBytes) {
    throw new FerryError(
      'CONFIG_INVALID',
      `the path of the socket ${JSON.stringify(path)} is longer than ${maxSocketPathBytes} bytes`,
      { hint: 'configure a shorter one' },
    );
  }
  await makeDirectory(dirname(path));
  await clearTheWay(path);
  // The socket must never be open to others, not even between bind and chmod.
  const before = process.umask(0o117);
  try {
    await bind(server, `unix:${path}`, ServerCredentials.createInsecure());
  } finally {
    process.umask(before);
  }
  await chmod(path, 0o660);
};

/** One level, as /run is empty after a start of the machine. @throws CONFIG_INVALID when it is missing and cannot be made */
const makeDirectory = async (path: string): Promise<void> => {
  try {
    await mkdir(path, { mode: 0o750 });
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && cause.code === 'EEXIST') return;
    // Where nothing may be made there may be a directory nevertheless: listening will tell.
    if (await lstat(path).catch(() => undefined)) return;
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new FerryError('CONFIG_INVALID', `cannot make the directory ${JSON.stringify(path)} of the socket: ${why}`, {
      hint: 'make it for the user of the daemon (RuntimeDirectory= of the systemd unit does), or configure another socket',
      cause,
    });
  }
};

/** Removes a socket that nobody listens on any more. @throws CONFIG_INVALID when anything else is in its place */
const clearTheWay = async (path: string): Promise<void> => {
  const there = await lstat(path).catch(() => undefined);
  if (there === undefined) return;
  if (!there.isSocket()) {
    throw new FerryError('CONFIG_INVALID', `${JSON.stringify(path)} is there already and is not a socket`, {
      hint: 'move it away, or configure another socket',
    });
  }
  if (await somebodyListens(path)) {
    throw new FerryError('CONFIG_INVALID', `another process listens on ${JSON.stringify(path)}`, {
      hint: 'stop it, or configure another socket',
    });
  }
  await unlink(path).catch(() => {});
};

/** Only a refused connection says that nobody does: a listener may be busy, or closed to us. */
const somebodyListens = (path: string): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', (error: NodeJS.ErrnoException) => {
      resolve(error.code !== 'ECONNREFUSED' && error.code !== 'ENOENT');
    });
  });

const stopServer = (server: Server, graceMs: number): Promise<void> =>
  new Promise((resolve) => {
    const timer = setTimeout(() => {
      server.forceShutdown();
      resolve();
    }, graceMs);
    server.tryShutdown(() => {
      clearTimeout(timer);
      resolve();
    });
  });
