import { Metadata, status, type ServiceError, type StatusObject } from '@grpc/grpc-js';
import { FerryError, toFerryError } from '../errors/ferry-error.js';
import { isErrorCode, type ErrorCode } from '../errors/registry.js';
import { ErrorDetail } from '../gen/rbdferry/v1/model.js';
import { StatusDetails } from '../gen/rbdferry/v1/status.js';
import { brokenCall, connectionFailure, type PeerCodes } from './connection-failure.js';

const detailsKey = 'grpc-status-details-bin';
const detailType = 'type.googleapis.com/rbdferry.v1.ErrorDetail';
/**
 * Bytes of each text. HTTP/2 peers commonly refuse more than 8 KiB of trailers: the status text is percent-encoded (three
 * times as long at worst) and the details in base64.
 */
const maxBytes = { status: 500, message: 2000, hint: 1000 } as const;

/** An error as a status for the wire: the registry's status, and code, message and hint in grpc-status-details-bin. */
export const errorToStatus = (thrown: unknown): Partial<StatusObject> & { code: number; details: string } => {
  const error = toFerryError(thrown);
  const code = status[error.entry.status];
  const message = fit(error.message, maxBytes.message);
  const text = fit(error.message, maxBytes.status);
  const detail = ErrorDetail.encode({ code: error.code, message, hint: fit(error.hint, maxBytes.hint) }).finish();
  const details = StatusDetails.encode({
    code,
    message: text,
    details: [{ typeUrl: detailType, value: Buffer.from(detail) }],
  }).finish();
  const metadata = new Metadata();
  metadata.set(detailsKey, Buffer.from(details));
  return { code, details: text, metadata };
};

/**
 * The text as well-formed UTF-8, cut between characters. A lone surrogate (half of a character that somebody cut) makes
 * grpc-js throw while it sends the status, and the client would wait for ever.
 */
const fit = (text: string, bytes: number): string => {
  const encoded = Buffer.from(text);
  if (encoded.length <= bytes) return encoded.toString();
  const ellipsis = '...';
  const kept = encoded.subarray(0, bytes - ellipsis.length);
  return new TextDecoder('utf-8', { ignoreBOM: true }).decode(kept, { stream: true }) + ellipsis;
};

const detailOf = (error: ServiceError): ErrorDetail | undefined => {
  const [raw] = error.metadata?.get(detailsKey) ?? [];
  if (!(raw instanceof Uint8Array)) return undefined;
  try {
    const any = StatusDetails.decode(raw).details.find((each) => each.typeUrl === detailType);
    return any === undefined ? undefined : ErrorDetail.decode(any.value);
  } catch {
    // Whatever this is, it must not hide the error that it came with.
    return undefined;
  }
};

/** What a gRPC status means that came without an error of ours. */
const meaningOf = (error: ServiceError, peer: PeerCodes): { readonly code: ErrorCode; readonly what: string } => {
  const what = error.details;
  const broken = brokenCall(what, peer);
  if (broken !== undefined) return broken;
  switch (error.code) {
    case status.UNAVAILABLE:
      return connectionFailure(what, peer);
    case status.DEADLINE_EXCEEDED:
      return { code: peer.unreachable, what };
    case status.UNIMPLEMENTED:
      return { code: 'PROTOCOL_MISMATCH', what };
    case status.CANCELLED:
      // Not by us (that is told apart before), and not by a handler (that has its own error): the server broke it off.
      return { code: 'CONNECTION_LOST', what: 'it broke the call off' };
    case status.UNAUTHENTICATED:
    case status.PERMISSION_DENIED:
      return { code: 'ACCESS_DENIED', what };
    case status.RESOURCE_EXHAUSTED:
    case status.INVALID_ARGUMENT:
      return { code: 'INVALID_REQUEST', what };
    default:
      return { code: 'INTERNAL', what };
  }
};

const isServiceError = (thrown: unknown): thrown is ServiceError =>
  thrown instanceof Error && 'code' in thrown && 'details' in thrown && 'metadata' in thrown;

/** What a failed call means: the peer's own FerryError when it sent one, else a code for the gRPC status. */
export const errorFromCall = (thrown: unknown, peer: PeerCodes): FerryError => {
  if (!isServiceError(thrown)) return toFerryError(thrown);
  const detail = detailOf(thrown);
  if (detail === undefined) {
    const { code, what } = meaningOf(thrown, peer);
    return new FerryError(code, `${peer.peer}: ${what}`, { cause: thrown });
  }
  return errorOfDetail(detail, thrown);
};

/** The error that a peer tells of. */
export const errorOfDetail = ({ code, message, hint }: ErrorDetail, cause?: unknown): FerryError => {
  const options = { ...(hint === '' ? {} : { hint }), cause };
  if (isErrorCode(code)) return new FerryError(code, message, options);
  // A newer peer's code: its name is all that this release can pass on.
  return new FerryError('INTERNAL', `${code}: ${message}`, options);
};
