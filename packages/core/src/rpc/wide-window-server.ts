import type { IncomingHttpHeaders, Http2Server, Http2SecureServer, ServerHttp2Session } from 'node:http2';
import { TLSSocket } from 'node:tls';
import { Server, type ServerOptions } from '@grpc/grpc-js';
import { endWhenDead } from './dead-connection.js';
import { watchRefusals, type TlsRefusal } from './tls-refusal.js';
import { initialWindowBytes, WindowBudget, type WindowSetting } from './window.js';

interface ServerInternals {
  commonServerOptions: { settings?: Record<string, unknown>; minVersion?: string };
  createHttp2Server(credentials: unknown): Http2Server | Http2SecureServer;
}

/** What a server found out about one of its connections. */
export interface ConnectionFacts {
  /** Common name of the client's certificate; null without one. */
  readonly client: string | null;
  readonly windowBytes: number;
  readonly roundTripMs: number;
}

export interface WindowOptions {
  readonly window: WindowSetting;
  /** Path of the method whose streams carry much; only for those is a window widened. */
  readonly bulkPath?: string;
  readonly onConnection?: (facts: ConnectionFacts) => void;
  /** Told of each connection that fails in the TLS handshake. */
  readonly onRefused?: ((refusal: TlsRefusal) => void) | undefined;
}

/**
 * A grpc-js server whose flow-control window is wide, and that speaks no TLS older than 1.3.
 *
 * grpc-js reads `grpc-node.flow_control_window` in clients only; its server keeps HTTP/2's 64 KiB, which holds an upload
 * to 1 MB/s at 50 ms. Both windows must grow: the stream's (a setting sent to the client) and the connection's.
 * This reaches into private parts of the pinned grpc-js; wide-window-server.test.ts fails when they move.
 */
export class WideWindowServer extends Server {
  readonly #options: WindowOptions;
  readonly #budget = new WindowBudget();

  constructor(options: WindowOptions, serverOptions?: ServerOptions) {
    super(serverOptions);
    this.#options = options;
    const windowBytes = initialWindowBytes(options.window);
    const internals = this as unknown as ServerInternals;
    const create = internals.createHttp2Server.bind(this);
    internals.createHttp2Server = (credentials) => {
      internals.commonServerOptions.settings = {
        ...internals.commonServerOptions.settings,
        initialWindowSize: windowBytes,
      };
      internals.commonServerOptions.minVersion = 'TLSv1.3';
      const server = create(credentials);
      server.on('secureConnection', endWhenDead);
      const { onRefused } = options;
      if (onRefused !== undefined && 'setSecureContext' in server) watchRefusals(server, onRefused);
      server.on('session', (session: ServerHttp2Session) => {
        session.setLocalWindowSize(windowBytes);
        void this.#follow(session);
      });
      return server;
    };
  }

  /** Measures the round trip while nothing is on the way yet, and widens the window when something comes for which it matters. */
  async #follow(session: ServerHttp2Session): Promise<void> {
    const { window, bulkPath, onConnection } = this.#options;
    const bulk = bulkPath === undefined ? null : firstStream(session, bulkPath);
    const roundTripMs = await ping(session);
    if (roundTripMs === null) return;
    const windowBytes = initialWindowBytes(window);
    const client = commonNameOf(session);
    onConnection?.({ client, windowBytes, roundTripMs });
    await bulk;
    if (window !== 'auto' || bulk === null || session.destroyed) return;
    const grant = this.#budget.grant(roundTripMs);
    session.once('close', () => {
      grant.giveBack();
    });
    if (grant.windowBytes === windowBytes) return;
    session.setLocalWindowSize(grant.windowBytes);
    session.settings({ initialWindowSize: grant.windowBytes });
    onConnection?.({ client, windowBytes: grant.windowBytes, roundTripMs });
  }
}

/** Resolves with the first stream of this path, or when the session ends. */
const firstStream = (session: ServerHttp2Session, path: string): Promise<void> =>
  new Promise((resolve) => {
    const look = (_stream: unknown, headers: IncomingHttpHeaders): void => {
      if (headers[':path'] !== path) return;
      session.off('stream', look);
      resolve();
    };
    session.on('stream', look);
    session.once('close', resolve);
  });

/** The round trip in milliseconds; null when the session ended before an answer came. */
const ping = (session: ServerHttp2Session): Promise<number | null> =>
  new Promise((resolve) => {
    session.once('close', () => {
      resolve(null);
    });
    try {
      const isSent = session.ping((error, durationMs) => {
        resolve(error === null ? durationMs : null);
      });
      if (!isSent) resolve(null);
    } catch {
      resolve(null);
    }
  });

const commonNameOf = ({ socket }: ServerHttp2Session): string | null => {
  const certificate = socket instanceof TLSSocket ? socket.getPeerCertificate() : undefined;
  const name: unknown = certificate?.subject?.CN;
  return typeof name === 'string' ? name : null;
};
