import type {
  CallOptions as GrpcCallOptions,
  ClientReadableStream,
  ClientUnaryCall,
  ClientWritableStream,
  ServiceError,
} from '@grpc/grpc-js';
import { Metadata } from '@grpc/grpc-js';
import { FerryError, abortReason, throwIfAborted } from '../errors/ferry-error.js';
import type { PeerCodes } from './connection-failure.js';
import { errorFromCall } from './error-wire.js';
import { queueFew } from './queue-few.js';

export interface CallSettings {
  readonly peer: PeerCodes;
  readonly signal?: AbortSignal | undefined;
  /** After this the call fails with the peer's `unreachable` code. Milliseconds. */
  readonly timeoutMs?: number | undefined;
}

type UnaryMethod<Req, Res> = (
  request: Req,
  metadata: Metadata,
  options: Partial<GrpcCallOptions>,
  callback: (error: ServiceError | null, response: Res) => void,
) => ClientUnaryCall;

const optionsOf = ({ timeoutMs }: CallSettings): Partial<GrpcCallOptions> =>
  timeoutMs === undefined ? {} : { deadline: Date.now() + timeoutMs };

/** Aborting the signal cancels the call; answers what undoes that. */
const cancelOnAbort = (call: { cancel(): void }, signal: AbortSignal | undefined): (() => void) => {
  const cancel = () => {
    call.cancel();
  };
  signal?.addEventListener('abort', cancel, { once: true });
  return () => signal?.removeEventListener('abort', cancel);
};

/** Why we cancelled: the signal's reason, if that is why. */
const reasonOf = (signal: AbortSignal | undefined): FerryError =>
  signal?.aborted === true ? abortReason(signal) : new FerryError('CANCELLED', 'the call was cancelled');

const explain = (thrown: unknown, { peer, signal }: CallSettings): FerryError =>
  signal?.aborted === true ? abortReason(signal) : errorFromCall(thrown, peer);

/** A unary call as a promise that throws FerryError. `method` must be bound to its client. */
export const callUnary = async <Req, Res>(
  method: UnaryMethod<Req, Res>,
  request: Req,
  settings: CallSettings,
): Promise<Res> => {
  throwIfAborted(settings.signal);
  let release = () => {};
  try {
    return await new Promise<Res>((resolve, reject) => {
      const call = method(request, new Metadata(), optionsOf(settings), (error, response) => {
        if (error === null) resolve(response);
        else reject(error);
      });
      release = cancelOnAbort(call, settings.signal);
    });
  } catch (thrown) {
    throw explain(thrown, settings);
  } finally {
    release();
  }
};

/** A server stream as an iterable that throws FerryError; leaving the loop early tells the server. */
export async function* callServerStream<Res>(
  start: (metadata: Metadata, options: Partial<GrpcCallOptions>) => ClientReadableStream<Res>,
  settings: CallSettings,
): AsyncGenerator<Res, void, undefined> {
  throwIfAborted(settings.signal);
  const call = startOrThrow(() => start(new Metadata(), optionsOf(settings)), settings);
  queueFew(call);
  const release = cancelOnAbort(call, settings.signal);
  // A status that comes once nobody iterates any more must not become an uncaught exception.
  call.on('error', () => {});
  try {
    for await (const message of call as AsyncIterable<Res>) yield message;
  } catch (thrown) {
    throw explain(thrown, settings);
  } finally {
    release();
    call.cancel();
  }
}

/** A client that was closed throws at once, and not by the call's own way. */
const startOrThrow = <Call>(start: () => Call, settings: CallSettings): Call => {
  try {
    return start();
  } catch (thrown) {
    throw explain(thrown, settings);
  }
};

/** A client stream: write messages, then `finish` for the answer, or `cancel`. */
export interface ClientStreamCall<Req, Res> {
  /**
   * Resolves when there is room for more; one at a time. @throws the server's error, also when it answered early
   *
   * @param onSent called when nothing refers to the message's content any more; not at all when the stream fails before
   */
  write(message: Req, onSent?: () => void): Promise<void>;
  /** Ends the stream and waits for the answer, which may be there already: a server need not wait for the end. */
  finish(): Promise<Res>;
  /** Gives up; the server is told. Safe at any time. */
  cancel(): void;
}

export const callClientStream = <Req, Res>(
  start: (
    metadata: Metadata,
    options: Partial<GrpcCallOptions>,
    callback: (error: ServiceError | null, response: Res) => void,
  ) => ClientWritableStream<Req>,
  settings: CallSettings,
): ClientStreamCall<Req, Res> => {
  throwIfAborted(settings.signal);
  const state: { wake: () => void; failure?: FerryError; answered: boolean } = { wake: () => {}, answered: false };
  const fail = (failure: FerryError) => {
    state.failure = failure;
    refuse(failure);
  };
  let answer: (response: Res) => void = () => {};
  let refuse: (error: FerryError) => void = () => {};
  const reply = new Promise<Res>((resolve, reject) => {
    answer = resolve;
    refuse = reject;
  });
  reply.catch(() => {});
  const onAnswer = (error: ServiceError | null, response: Res) => {
    state.answered = true;
    release();
    if (error === null) {
      answer(response);
    } else {
      if (state.failure === undefined) fail(explain(error, settings));
      // Nobody wants what is still queued. (A writer that waits for `drain` would never hear of an early answer: `wake`.)
      call.destroy();
    }
    state.wake();
  };
  const call = startOrThrow(() => start(new Metadata(), optionsOf(settings), onAnswer), settings);
  queueFew(call);
  const release = cancelOnAbort(call, settings.signal);
  call.on('error', () => {});
  call.on('drain', () => {
    state.wake();
  });

  const throwIfFailed = () => {
    if (state.failure !== undefined) throw state.failure;
  };
  return {
    async write(message, onSent) {
      throwIfFailed();
      if (state.answered) throw new FerryError('INTERNAL', `${settings.peer.peer} answered before the stream ended`);
      const sent = (error?: Error | null) => {
        if (error == null) onSent?.();
      };
      if (call.write(message, sent)) return;
      await new Promise<void>((resolve) => {
        state.wake = resolve;
      });
      // Answered well meanwhile is fine: this message may have been the last one.
      throwIfFailed();
    },
    async finish() {
      throwIfFailed();
      call.end();
      return reply;
    },
    cancel() {
      release();
      if (!state.answered) fail(reasonOf(settings.signal));
      call.cancel();
    },
  };
};
