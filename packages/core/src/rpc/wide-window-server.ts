import { Server, type ServerOptions } from '@grpc/grpc-js';
import type { Http2Server, Http2SecureServer, ServerHttp2Session } from 'node:http2';

/**
 * Bytes a peer may send before it waits for us, for each stream and for each connection.
 * It bounds the rate at window / round trip: 16 MiB gives 320 MB/s at 50 ms.
 */
export const defaultWindowBytes = 16 * 1024 * 1024;

interface ServerInternals {
  commonServerOptions: { settings?: Record<string, unknown>; minVersion?: string };
  createHttp2Server(credentials: unknown): Http2Server | Http2SecureServer;
}

/**
 * A grpc-js server whose flow-control window is wide, and that speaks no TLS older than 1.3.
 *
 * grpc-js reads `grpc-node.flow_control_window` in clients only; its server keeps HTTP/2's 64 KiB, which holds an upload
 * to 1 MB/s at 50 ms. Both windows must grow: the stream's (a setting sent to the client) and the connection's.
 * This reaches into private parts of the pinned grpc-js; wide-window-server.test.ts fails when they move.
 */
export class WideWindowServer extends Server {
  constructor(windowBytes: number, options?: ServerOptions) {
    super(options);
    const internals = this as unknown as ServerInternals;
    const create = internals.createHttp2Server.bind(this);
    internals.createHttp2Server = (credentials) => {
      internals.commonServerOptions.settings = {
        ...internals.commonServerOptions.settings,
        initialWindowSize: windowBytes,
      };
      internals.commonServerOptions.minVersion = 'TLSv1.3';
      const server = create(credentials);
      server.on('session', (session: ServerHttp2Session) => {
        session.setLocalWindowSize(windowBytes);
      });
      return server;
    };
  }
}
