import type { ChannelCredentials } from '@grpc/grpc-js';
import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';

interface SocketInternals {
  /** Answers 0 when there is a peer. */
  readonly _handle?: { getpeername?(into: object): number } | null;
}

/** Looking is one system call. */
const lookEveryMs = 1_000;

/**
 * Ends a TLS socket that the kernel has given up. When a write fails that was under way, Node (20.20, its TLSWrap) goes on taking it
 * for under way: HTTP/2 writes and reads nothing more on that connection, and who sends to a daemon that died hears of it 40 s
 * later, from keepalive. The kernel knows at once: a connection that was reset, or ran into TCP's timeout, has no peer any more. This
 * reaches into private parts of Node and grpc-js; dead-connection.test.ts fails when they move.
 */
export const endWhenDead = (socket: TLSSocket): void => {
  const timer = setInterval(() => {
    if (!socket.destroyed && hasPeer(socket)) return;
    clearInterval(timer);
    socket.destroy(Object.assign(new Error('the connection was reset'), { code: 'ECONNRESET' }));
  }, lookEveryMs);
  timer.unref();
};

const hasPeer = (socket: TLSSocket): boolean => {
  const { _handle: handle } = socket as unknown as SocketInternals;
  return typeof handle?.getpeername !== 'function' || handle.getpeername({}) === 0;
};

/** How a channel with these credentials puts TLS on a connection. */
interface CredentialsInternals {
  readonly _createSecureConnector: (this: ChannelCredentials, ...args: unknown[]) => Connector;
}

interface Connector {
  connect(socket: Socket): Promise<{ readonly socket: TLSSocket }>;
}

/** The same credentials; connections made with them end when they are dead. */
export const endingDeadConnections = (credentials: ChannelCredentials): ChannelCredentials => {
  const { _createSecureConnector: create } = credentials as unknown as CredentialsInternals;
  return Object.assign(credentials, {
    _createSecureConnector: (...args: unknown[]): Connector => {
      const connector = create.apply(credentials, args);
      const connect = connector.connect.bind(connector);
      connector.connect = async (socket) => {
        const secured = await connect(socket);
        endWhenDead(secured.socket);
        return secured;
      };
      return connector;
    },
  });
};
