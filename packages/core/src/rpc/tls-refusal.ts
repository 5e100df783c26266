import type { Http2SecureServer } from 'node:http2';
import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';

/** Why a connection did not get through the handshake. */
export const tlsRefusals = [
  'no_certificate',
  'unknown_ca',
  'expired',
  'bad_certificate',
  /** No TLS at all, or none that is new enough. */
  'protocol',
  /** The client ended the handshake: it may not trust our certificate. */
  'gave_up',
  /** Nothing was said: somebody looked whether the port is open. */
  'closed',
] as const;

export interface TlsRefusal {
  readonly reason: (typeof tlsRefusals)[number];
  /** The client's IP address; null when it cannot be told any more. */
  readonly address: string | null;
  /** What Node or OpenSSL calls it. */
  readonly detail: string;
}

interface SocketInternals {
  /** What the TLS socket stands on. */
  readonly _parent?: Socket;
  /** Node's types call it an error; it is the code of one. */
  readonly authorizationError?: string | null;
}

/**
 * Tells of each connection that the server refuses. A client whose certificate is not taken is told by Node as a connection that was reset, with
 * the reason on the socket, whose address is gone by then: so that of the raw connection is looked at when it comes. This reaches into
 * private parts of Node; tls-refusal.test.ts fails when they move.
 */
export const watchRefusals = (server: Http2SecureServer, onRefused: (refusal: TlsRefusal) => void): void => {
  // Once asked for, Node remembers it beyond the end of the connection.
  server.on('connection', (raw: Socket) => void raw.remoteAddress);
  server.on('tlsClientError', (error: NodeJS.ErrnoException, socket: TLSSocket) => {
    const { _parent: raw, authorizationError: verdict = null } = socket as unknown as SocketInternals;
    const address = (raw?.remoteAddress ?? socket.remoteAddress)?.replace(/^::ffff:/, '') ?? null;
    const detail = verdict ?? error.code ?? error.message;
    onRefused({ reason: reasonOf(verdict, error.code ?? '', raw?.bytesRead ?? 0), address, detail });
  });
};

const reasonOf = (verdict: string | null, code: string, bytesRead: number): TlsRefusal['reason'] => {
  if (verdict === 'CERT_HAS_EXPIRED') return 'expired';
  if (verdict !== null) return isUnknownCa.test(verdict) ? 'unknown_ca' : 'bad_certificate';
  if (code === 'ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE') return 'no_certificate';
  if (code.startsWith('ERR_SSL')) return code.includes('_ALERT_') ? 'gave_up' : 'protocol';
  return bytesRead === 0 ? 'closed' : 'gave_up';
};

const isUnknownCa = /^UNABLE_TO_|^SELF_SIGNED_|^DEPTH_ZERO_SELF_SIGNED_|^CERT_SIGNATURE_FAILURE$/;
