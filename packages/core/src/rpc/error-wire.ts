import { Metadata, status, type ServiceError, type StatusObject } from '@grpc/grpc-js';
import { FerryError, toFerryError } from '../errors/ferry-error.js';
import { isErrorCode, type ErrorCode } from '../errors/registry.js';
import { ErrorDetail } from '../gen/rbdferry/v1/model.js';
import { StatusDetails } from '../gen/rbdferry/v1/status.js';

const detailsKey = 'grpc-status-details-bin';
const detailType = 'type.googleapis.com/rbdferry.v1.ErrorDetail';
/** HTTP/2 peers commonly refuse more than 8 KiB of trailers. */
const maxTextLength = 2000;

/** An error as a status for the wire: the registry's status, and code, message and hint in grpc-status-details-bin. */
export const errorToStatus = (thrown: unknown): Partial<StatusObject> & { code: number; details: string } => {
  const error = toFerryError(thrown);
  const code = status[error.entry.status];
  const message = error.message.slice(0, maxTextLength);
  const detail = ErrorDetail.encode({ code: error.code, message, hint: error.hint.slice(0, maxTextLength) }).finish();
  const details = StatusDetails.encode({
    code,
    message,
    details: [{ typeUrl: detailType, value: Buffer.from(detail) }],
  }).finish();
  const metadata = new Metadata();
  metadata.set(detailsKey, Buffer.from(details));
  return { code, details: message, metadata };
};

/** Which codes a failed connection to this kind of peer gets. */
export interface PeerCodes {
  readonly unreachable: ErrorCode;
  /** How the peer is called in messages, like `receiver "dr" at backup:7443`. */
  readonly peer: string;
}

const detailOf = (error: ServiceError): ErrorDetail | undefined => {
  const [raw] = error.metadata?.get(detailsKey) ?? [];
  if (!(raw instanceof Uint8Array)) return undefined;
  const any = StatusDetails.decode(raw).details.find((each) => each.typeUrl === detailType);
  return any === undefined ? undefined : ErrorDetail.decode(any.value);
};

const tlsWords =
  /certificate|self-signed|self signed|\bSSL\b|\bTLS\b|alert|altname|wrong version number|unable to verify|ERR_TLS|EPROTO/i;

const codeOfStatus = (error: ServiceError, peer: PeerCodes): ErrorCode => {
  switch (error.code) {
    case status.UNAVAILABLE:
      if (tlsWords.test(error.details)) return 'TLS_FAILED';
      return /no connection established|ECONNREFUSED|ENOENT|EACCES|ENOTFOUND|EAI_AGAIN|ETIMEDOUT|EHOSTUNREACH|name resolution/i.test(
        error.details,
      )
        ? peer.unreachable
        : 'CONNECTION_LOST';
    case status.DEADLINE_EXCEEDED:
      return peer.unreachable;
    case status.UNIMPLEMENTED:
      return 'PROTOCOL_MISMATCH';
    case status.CANCELLED:
      return 'CANCELLED';
    case status.UNAUTHENTICATED:
    case status.PERMISSION_DENIED:
      return 'ACCESS_DENIED';
    case status.RESOURCE_EXHAUSTED:
    case status.INVALID_ARGUMENT:
      return 'INVALID_REQUEST';
    default:
      return 'INTERNAL';
  }
};

const isServiceError = (thrown: unknown): thrown is ServiceError =>
  thrown instanceof Error && 'code' in thrown && 'details' in thrown && 'metadata' in thrown;

/** What a failed call means: the peer's own FerryError when it sent one, else a code for the gRPC status. */
export const errorFromCall = (thrown: unknown, peer: PeerCodes): FerryError => {
  if (!isServiceError(thrown)) return toFerryError(thrown);
  const detail = detailOf(thrown);
  if (detail !== undefined) {
    const code = isErrorCode(detail.code) ? detail.code : 'INTERNAL';
    return new FerryError(code, detail.message, { hint: detail.hint, cause: thrown });
  }
  const code = codeOfStatus(thrown, peer);
  return new FerryError(code, `${peer.peer}: ${thrown.details}`, { cause: thrown });
};
