import type { ErrorCode } from '../errors/registry.js';

/** Which codes a failed connection to this kind of peer gets. */
export interface PeerCodes {
  readonly unreachable: ErrorCode;
  /** How the peer is called in messages, like `receiver "dr" at backup:7443`. */
  readonly peer: string;
}

interface ConnectionFailure {
  readonly code: ErrorCode;
  /** What happened, without grpc-js's own frame around it. */
  readonly what: string;
}

/**
 * What a status UNAVAILABLE means. grpc-js puts everything into its text; tls.test.ts and calls.test.ts hold each text of
 * the pinned release against the real thing.
 */
export const connectionFailure = (details: string, peer: PeerCodes): ConnectionFailure => {
  const unreachable = (what: string): ConnectionFailure => ({ code: peer.unreachable, what });
  if (details.startsWith('Name resolution failed')) return unreachable(details);
  const attempt = /^No connection established\. Last error: (?:Error(?: \[\w+\])?: )?(.*?)\.? Resolution note:/s.exec(
    details,
  )?.[1];
  if (attempt === undefined) return { code: 'CONNECTION_LOST', what: details };
  const what = attempt.trim().replace(dateSuffix, '');
  if (networkWords.test(what) && !dateSuffix.test(attempt)) return unreachable(what);
  if (peer.unreachable !== 'AGENT_UNREACHABLE' && endedAfterHandshake(attempt)) {
    return { code: 'TLS_FAILED', what: 'it closed the connection when it had seen our certificate' };
  }
  const openSsl = /error:[0-9A-F]+:SSL routines:[^:]*:([^:]+):/.exec(what)?.[1];
  if (openSsl === 'wrong version number') return { code: 'TLS_FAILED', what: 'it does not speak TLS' };
  if (openSsl !== undefined) return { code: 'TLS_FAILED', what: openSsl };
  return tlsWords.test(what) ? { code: 'TLS_FAILED', what } : unreachable(what);
};

/** grpc-js puts the time behind failures between the end of the TLS handshake and the first HTTP/2 frame, and only there. */
const dateSuffix = / \(\d{4}-\d\d-\d\dT[\d:.]+Z\)$/;

const networkWords =
  /\bE(?:CONN(?:REFUSED|RESET|ABORTED)|NOENT|NOTDIR|ACCES|PERM|NOTFOUND|AI_AGAIN|TIMEDOUT|HOSTUNREACH|NETUNREACH|PIPE)\b|socket disconnected before secure TLS connection/;

const tlsWords = /certificate|self-signed|\bSSL\b|\bTLS\b|altnames|EPROTO/i;

/**
 * Whether the server went away when TLS was complete on our side and before it said anything. With TLS 1.3 that is what a
 * server does (Node's without an alert) that refuses the client's certificate.
 */
const endedAfterHandshake = (attempt: string): boolean =>
  attempt === 'Connection closed before starting HTTP/2 handshake' ||
  (dateSuffix.test(attempt) && /^(?:Failed to connect|socket hang up|read E|write E)/.test(attempt));
