import {
  type handleClientStreamingCall,
  type handleServerStreamingCall,
  type handleUnaryCall,
  type ServerUnaryCall,
  type ServerWritableStream,
} from '@grpc/grpc-js';
import { FerryError, abortReason, toFerryError } from '../errors/ferry-error.js';
import { errorToStatus } from './error-wire.js';
import { queueFew } from './queue-few.js';

/** What there is of a client's certificate; nulls on a connection without one. */
export interface Peer {
  readonly commonName: string | null;
  /** SHA-256 of the certificate, as openssl prints it: `AB:CD:...`. */
  readonly fingerprint: string | null;
}

/** What a handler knows of its call besides the request. */
export interface CallContext {
  /** Aborts when the client cancels or goes away, and also after the call has ended well. */
  readonly signal: AbortSignal;
  /** Common name of the client's certificate; null on a connection without one (a unix socket). */
  readonly client: string | null;
  /** Who the client's certificate says it is. */
  readonly peer: Peer;
  /** The client's IP address; null on a unix socket. */
  readonly address: string | null;
  /** The method's path, for logs. */
  readonly method: string;
}

/** Told of every call that failed; where a service logs. */
export type FailureListener = (error: FerryError, context: CallContext) => void;

/** What the kinds of server call have in common. */
type AnyServerCall = Pick<ServerUnaryCall<unknown, unknown>, 'cancelled' | 'getAuthContext' | 'getPath' | 'getPeer'> & {
  once(event: 'cancelled', listener: () => void): unknown;
};

const peerOf = (call: AnyServerCall): Peer => {
  const certificate = call.getAuthContext().sslPeerCertificate;
  const name: unknown = certificate?.subject?.CN;
  return { commonName: typeof name === 'string' ? name : null, fingerprint: certificate?.fingerprint256 ?? null };
};

const contextOf = (call: AnyServerCall): CallContext => {
  const controller = new AbortController();
  const gone = new FerryError('CANCELLED', 'the client cancelled the call or went away');
  call.once('cancelled', () => {
    controller.abort(gone);
  });
  if (call.cancelled) controller.abort(gone);
  const peer = peerOf(call);
  const address = addressOf(call.getPeer());
  return { signal: controller.signal, client: peer.commonName, peer, address, method: call.getPath() };
};

/** Of `ADDRESS:PORT` as grpc-js says it; what else it says is no address. */
const addressOf = (peer: string): string | null => /^\[?(?:::ffff:)?([0-9a-f.:]+?)\]?:\d+$/i.exec(peer)?.[1] ?? null;

/**
 * Handlers that may be async and may throw: whatever they throw reaches the client as a status with the error's code.
 * An async handler given to grpc-js itself leaves the client waiting for ever when it rejects.
 */
export const createHandlers = (onFailure: FailureListener) => {
  const failed = (thrown: unknown, context: CallContext) => {
    const error = isAbruptEnd(thrown) && context.signal.aborted ? abortReason(context.signal) : toFerryError(thrown);
    onFailure(error, context);
    return errorToStatus(error);
  };

  const unary =
    <Req, Res>(handle: (request: Req, context: CallContext) => Promise<Res>): handleUnaryCall<Req, Res> =>
    (call, callback) => {
      const context = contextOf(call);
      promised(() => handle(call.request, context)).then(
        (response) => {
          callback(null, response);
        },
        (thrown: unknown) => {
          callback(failed(thrown, context));
        },
      );
    };

  const clientStream =
    <Req, Res>(
      handle: (requests: AsyncIterable<Req>, context: CallContext) => Promise<Res>,
    ): handleClientStreamingCall<Req, Res> =>
    (call, callback) => {
      queueFew(call);
      const context = contextOf(call);
      promised(() => handle(call as AsyncIterable<Req>, context)).then(
        (response) => {
          callback(null, response);
        },
        (thrown: unknown) => {
          callback(failed(thrown, context));
        },
      );
    };

  const serverStream =
    <Req, Res>(
      handle: (request: Req, context: CallContext) => AsyncIterable<Res>,
      options: SendOptions<Res> = {},
    ): handleServerStreamingCall<Req, Res> =>
    (call) => {
      queueFew(call);
      const context = contextOf(call);
      promised(() => sendAll(call, handle(call.request, context), { ...options, ...context })).catch(
        (thrown: unknown) => {
          // `destroy` and `pipeline` leave the client waiting; only this ends the call with a status.
          call.emit('error', failed(thrown, context));
        },
      );
    };

  return { unary, clientStream, serverStream };
};

interface SendOptions<Res> {
  /** Called when nothing refers to the message's content any more; not at all when the stream fails before. */
  readonly onSent?: (message: Res) => void;
}

/** What a client's messages end with when it goes away; sometimes they just end. */
const isAbruptEnd = (thrown: unknown): boolean =>
  thrown instanceof Error && 'code' in thrown && thrown.code === 'ERR_STREAM_PREMATURE_CLOSE';

/** A handler that throws before it makes its promise would get past us to grpc-js, which answers only UNKNOWN. */
const promised = async <T>(handle: () => Promise<T>): Promise<T> => handle();

const sendAll = async <Req, Res>(
  call: ServerWritableStream<Req, Res>,
  messages: AsyncIterable<Res>,
  { signal, onSent }: Pick<CallContext, 'signal'> & SendOptions<Res>,
): Promise<void> => {
  for await (const message of messages) {
    if (signal.aborted) throw abortReason(signal);
    const sent = (error?: Error | null) => {
      if (error == null) onSent?.(message);
    };
    if (!call.write(message, sent)) await drained(call, signal);
  }
  call.end();
};

const drained = <Req, Res>(call: ServerWritableStream<Req, Res>, signal: AbortSignal): Promise<void> =>
  new Promise((resolve, reject) => {
    const onAbort = () => {
      call.off('drain', onDrain);
      reject(abortReason(signal));
    };
    const onDrain = () => {
      signal.removeEventListener('abort', onAbort);
      resolve();
    };
    if (signal.aborted) {
      reject(abortReason(signal));
      return;
    }
    call.once('drain', onDrain);
    signal.addEventListener('abort', onAbort, { once: true });
  });
