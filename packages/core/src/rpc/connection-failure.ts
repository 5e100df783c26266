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
  const openSsl = openSslReason(what);
  if (openSsl !== undefined && damageWords.test(openSsl)) return damaged(openSsl);
  if (openSsl === 'wrong version number') return { code: 'TLS_FAILED', what: 'it does not speak TLS' };
  if (openSsl !== undefined) return { code: 'TLS_FAILED', what: openSsl };
  return tlsWords.test(what) ? { code: 'TLS_FAILED', what } : unreachable(what);
};

const openSslReason = (text: string): string | undefined =>
  /error:[0-9A-F]+:SSL routines:[^:]*:([^:]+):/.exec(text)?.[1];

/**
 * What OpenSSL says, on either side, of bytes that are no longer what was sent. (A peer that is no TLS at all, or of another version, gets
 * other words.)
 */
const damageWords =
  /bad record mac|decryption failed|unexpected message|decode error|record boundary|excessive message size|invalid session id|illegal parameter|length mismatch|bad (?:length|extension|packet)/;

const damaged = (reason: string): ConnectionFailure => ({
  code: 'CONNECTION_LOST',
  what: `the connection broke: its bytes were damaged on the way (TLS: ${reason})`,
});

/**
 * What a call means that ended with a status which grpc-js made up, because none of the peer's came: INTERNAL and UNKNOWN as a rule, as if
 * it were a defect. damaged-wire.test.ts shows them.
 *
 * @returns undefined when it is nothing of the connection
 */
export const brokenCall = (details: string, peer: PeerCodes): ConnectionFailure | undefined => {
  const httpStatus = /^Received HTTP status code (\d+)/.exec(details)?.[1];
  if (httpStatus !== undefined) {
    return { code: peer.unreachable, what: `it speaks HTTP, but not gRPC: it answered with status ${httpStatus}` };
  }
  if (details.startsWith('Protocol not secure enough'))
    return { code: 'TLS_FAILED', what: 'it takes this TLS for too weak' };
  if (!brokenWords.test(details)) return undefined;
  const openSsl = openSslReason(details);
  if (openSsl !== undefined) return damaged(openSsl);
  return { code: 'CONNECTION_LOST', what: `the connection broke (${details.trim()})` };
};

const brokenWords =
  /^(?:Received RST_STREAM with code|Failed to start HTTP\/2 stream|No status information received|Write error|Bandwidth exhausted)/;

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
