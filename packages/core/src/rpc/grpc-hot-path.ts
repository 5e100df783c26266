import type { Http2Stream } from 'node:http2';
import { CompressionFilter } from '@grpc/grpc-js/build/src/compression-filter.js';
import { BaseServerInterceptingCall } from '@grpc/grpc-js/build/src/server-interceptors.js';
import { StreamDecoder } from '@grpc/grpc-js/build/src/stream-decoder.js';
import { Http2SubchannelCall } from '@grpc/grpc-js/build/src/subchannel-call.js';
import { withRoom } from '../transfer/lease.js';
import { FrameAssembler, frameHeadBytes } from './frame-assembler.js';
import { isWholeFrame, readInPlace } from './read-in-place.js';

/** `in-place`: without the copies of grpc-js; `plain`: its own way. */
export type WirePath = 'in-place' | 'plain';

/**
 * What grpc-js copies, and we do not. It frames each message in new memory, on both sides, and joins what it receives in new
 * memory; with messages of a MiB that is a fifth of the CPU of either end. These reach into private parts of the pinned grpc-js, in
 * the whole process; grpc-hot-path.test.ts fails when they move. What has no room for its frame goes grpc-js's own way.
 */

/** The message in its frame, uncompressed, when there is room for the frame's head before it. */
const framedInPlace = (message: Uint8Array): Buffer | undefined => {
  const framed = withRoom(message, frameHeadBytes);
  framed?.writeUInt8(0, 0);
  framed?.writeUInt32BE(message.length, 1);
  return framed;
};

/** How a client frames messages on a channel without compression. */
interface IdentityHandler {
  writeMessage: (this: IdentityHandler, message: Buffer, compress: boolean) => Promise<Buffer>;
}

const frameRequestsInPlace = (): void => {
  const { sendCompression } = new CompressionFilter({}, {}) as unknown as { sendCompression: IdentityHandler };
  const handler = Object.getPrototypeOf(sendCompression) as IdentityHandler;
  const { writeMessage } = handler;
  handler.writeMessage = async function (message, compress) {
    return framedInPlace(message) ?? writeMessage.call(this, message, compress);
  };
};

/** How a server frames messages. */
interface ResponseFraming {
  readonly handler: { serialize(value: unknown): Buffer };
  serializeMessage: (this: Pick<ResponseFraming, 'handler'>, value: unknown) => Buffer;
}

const frameResponsesInPlace = (): void => {
  const call = BaseServerInterceptingCall.prototype as unknown as ResponseFraming;
  const { serializeMessage } = call;
  call.serializeMessage = function (value) {
    const serialized = this.handler.serialize(value);
    return framedInPlace(serialized) ?? serializeMessage.call({ handler: { serialize: () => serialized } }, value);
  };
};

/** How both sides put together what they receive. */
interface Decoder {
  readonly maxReadMessageLength: number;
  write(this: Decoder, piece: Buffer): Buffer[];
}

const assemblers = new WeakMap<Decoder, FrameAssembler>();

const assemblerOf = (decoder: Decoder): FrameAssembler => {
  const known = assemblers.get(decoder);
  if (known !== undefined) return known;
  const assembler = new FrameAssembler(decoder.maxReadMessageLength);
  assemblers.set(decoder, assembler);
  return assembler;
};

const assembleInPlace = (): void => {
  (StreamDecoder.prototype as unknown as Decoder).write = function (piece) {
    return isWholeFrame(piece) ? [piece] : assemblerOf(this).write(piece);
  };
};

/** A call with a message of this size is not a question and its answer: reading its stream in another way is worth it. */
const bulkyBytes = 64 * 1024;

const bulky = new WeakSet<Decoder>();

const readBulkInPlace = (stream: Http2Stream, decoder: Decoder, message: Buffer | null): void => {
  if (message === null || message.length < bulkyBytes || bulky.has(decoder)) return;
  bulky.add(decoder);
  // Not here: grpc-js has the other messages of the same piece still in its hands.
  process.nextTick(() => {
    while (stream.readableLength > 0 && stream.read() !== null);
    if (stream.destroyed) return;
    // The frame that it has begun is gone on with in place.
    if (readInPlace(stream, assemblerOf(decoder))) assemblers.delete(decoder);
  });
};

/** How a server's call takes a message. */
interface ReceivingServerCall {
  readonly stream: Http2Stream;
  readonly decoder: Decoder;
  decompressAndMaybePush: (
    this: ReceivingServerCall,
    entry: { readonly compressedMessage: Buffer | null },
  ) => Promise<void>;
}

/** How a client's call takes one. */
interface ReceivingClientCall {
  readonly http2Stream: Http2Stream;
  readonly decoder: Decoder;
  tryPush: (this: ReceivingClientCall, message: Buffer) => void;
}

const readInPlaceOnBothSides = (): void => {
  const server = BaseServerInterceptingCall.prototype as unknown as ReceivingServerCall;
  const { decompressAndMaybePush } = server;
  server.decompressAndMaybePush = function (entry) {
    readBulkInPlace(this.stream, this.decoder, entry.compressedMessage);
    return decompressAndMaybePush.call(this, entry);
  };
  const client = Http2SubchannelCall.prototype as unknown as ReceivingClientCall;
  const { tryPush } = client;
  client.tryPush = function (message) {
    readBulkInPlace(this.http2Stream, this.decoder, message);
    tryPush.call(this, message);
  };
};

let installed = false;

/** Takes the copies out of grpc-js, in the whole process and for good. Doing it again changes nothing. */
export const installHotPath = (): void => {
  if (installed) return;
  installed = true;
  frameRequestsInPlace();
  frameResponsesInPlace();
  assembleInPlace();
  readInPlaceOnBothSides();
};

/** How messages go in this process. */
export const wirePath = (): WirePath => (installed ? 'in-place' : 'plain');
