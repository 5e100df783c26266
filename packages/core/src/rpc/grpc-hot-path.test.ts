import { randomBytes } from 'node:crypto';
import { PassThrough, type Readable, type Writable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { CompressionFilter } from '@grpc/grpc-js/build/src/compression-filter.js';
import { BaseServerInterceptingCall } from '@grpc/grpc-js/build/src/server-interceptors.js';
import { StreamDecoder } from '@grpc/grpc-js/build/src/stream-decoder.js';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { PullRequest, type PullResponse, type PushRequest, type PushResponse } from '../gen/rbdferry/v1/transfer.js';
import { Lease } from '../transfer/lease.js';
import { callClientStream, callServerStream, type CallSettings } from './calls.js';
import { installHotPath } from './grpc-hot-path.js';
import { transferDefinition } from './hot-data.js';
import { maxMessageBytes } from './options.js';
import { createClient, startPair } from './service-pair.js';
import { defaultWindowBytes } from './window.js';

/** When these fail, a later grpc-js has moved what our ways reach into. */
installHotPath();

const MiB = 1024 * 1024;
const settings: CallSettings = { peer: { unreachable: 'RECEIVER_UNREACHABLE', peer: 'the receiver' } };

const headOf = (message: Buffer): Buffer => {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(message.length, 1);
  return head;
};

/** A serialized data message with room before it. */
const roomyMessage = (sizeBytes: number): Buffer => {
  const value = Lease.take(sizeBytes).bytes;
  randomBytes(sizeBytes).copy(value);
  return transferDefinition.push.requestSerialize({ part: { $case: 'data', value } });
};

const frameOfClient = async (message: Buffer): Promise<Buffer> => {
  const framed = await new CompressionFilter({}, {}).sendMessage(Promise.resolve({ message }));
  return framed.message;
};

const frameOfServer = (message: Buffer): Buffer => {
  const { serializeMessage } = BaseServerInterceptingCall.prototype as unknown as {
    serializeMessage: (this: { handler: { serialize: (value: unknown) => Buffer } }, value: unknown) => Buffer;
  };
  return serializeMessage.call({ handler: { serialize: (value) => value as Buffer } }, message);
};

it('a call queues four messages, on both sides: a window holds the rest', async () => {
  const seen: Record<string, number> = {};
  const sending: { stream?: Writable } = {};
  const pair = await startPair(({ clientStream }) => ({
    push: clientStream(async (messages: AsyncIterable<PushRequest>) => {
      seen['server'] = (messages as unknown as Readable).readableHighWaterMark;
      await drain(messages);
      return { backup: undefined };
    }),
  }));
  const { client } = await pair.connect();
  const call = callClientStream<PushRequest, PushResponse>((metadata, options, callback) => {
    const stream = client.push(metadata, options, callback);
    sending.stream = stream;
    return stream;
  }, settings);
  await call.finish();
  await pair.stop();
  expect(seen).toEqual({ server: 4 });
  expect(sending.stream?.writableHighWaterMark).toBe(4);
  // What other libraries do with streams of their own is theirs.
  expect(new PassThrough({ objectMode: true }).readableHighWaterMark).toBe(16);
});

describe.each([
  ['a client', frameOfClient],
  ['a server', frameOfServer],
])('the frame that %s puts around a message', (_, frame) => {
  it.each([0, 1, 1000, MiB])('of %i bytes of data is written into its room', async (size) => {
    const message = roomyMessage(size);
    const expected = Buffer.concat([headOf(message), message]);
    const framed = await frame(message);
    expect(framed.equals(expected)).toBe(true);
    expect(framed.buffer).toBe(message.buffer);
  });

  it('without room is made by grpc-js', async () => {
    const message = randomBytes(1000);
    const framed = await frame(message);
    expect(framed.equals(Buffer.concat([headOf(message), message]))).toBe(true);
    expect(framed.buffer).not.toBe(message.buffer);
  });
});

describe('what grpc-js receives', () => {
  it('is put together in a buffer that can be given back', () => {
    const message = randomBytes(MiB);
    const frame = Buffer.concat([headOf(message), message]);
    const [first] = new StreamDecoder(-1).write(frame);
    expect(first?.equals(frame)).toBe(true);
    if (first !== undefined) Lease.claim(first).release();
    expect(Lease.take(MiB).bytes.buffer).toBe(first?.buffer);
  });
});

/** Counts the pieces of more than HTTP/2 frames that grpc-js gets to read until the test has ended. */
const watchPieces = () => {
  const write = vi.spyOn(StreamDecoder.prototype, 'write');
  onTestFinished(() => {
    write.mockRestore();
  });
  return { large: () => write.mock.calls.filter(([piece]) => piece.length > MiB).length };
};

const drain = async (messages: AsyncIterable<unknown>): Promise<void> => {
  const iterator = messages[Symbol.asyncIterator]();
  while ((await iterator.next()).done !== true);
};

describe('a stream of many large messages', () => {
  const total = 20;

  it('comes to the server in whole frames, but for its beginning', async () => {
    const pieces = watchPieces();
    const pair = await startPair(({ clientStream }) => ({
      push: clientStream(async (messages: AsyncIterable<PushRequest>) => {
        await drain(messages);
        return { backup: undefined };
      }),
    }));
    const { client } = await pair.connect();
    const call = callClientStream<PushRequest, PushResponse>(
      (metadata, options, callback) => client.push(metadata, options, callback),
      settings,
    );
    for (let sent = 0; sent < total; sent += 1) {
      await call.write({ part: { $case: 'data', value: Lease.take(MiB).bytes } });
    }
    await call.finish();
    await pair.stop();
    expect(pieces.large()).toBeGreaterThanOrEqual(total - 2);
  });

  it('comes to the client in whole frames, but for its beginning', async () => {
    const pieces = watchPieces();
    const pair = await startPair(({ serverStream }) => ({
      pull: serverStream(async function* (): AsyncGenerator<PullResponse> {
        for (let sent = 0; sent < total; sent += 1) {
          yield { part: { $case: 'data', value: Lease.take(MiB).bytes } };
        }
      }),
    }));
    const { client } = await pair.connect();
    await drain(
      callServerStream<PullResponse>(
        (metadata, calling) => client.pull(PullRequest.fromPartial({ backupId: 'any' }), metadata, calling),
        settings,
      ),
    );
    await pair.stop();
    expect(pieces.large()).toBeGreaterThanOrEqual(total - 2);
  });

  it('is refused, and nothing else, when one of them is larger than allowed', async () => {
    const pieces = watchPieces();
    const pair = await startPair(({ clientStream }) => ({
      push: clientStream(async (messages: AsyncIterable<PushRequest>) => {
        await drain(messages);
        return { backup: undefined };
      }),
    }));
    const client = createClient(pair.target, undefined, { 'grpc.max_send_message_length': -1 });
    const push = async (sizes: readonly number[]): Promise<void> => {
      const call = callClientStream<PushRequest, PushResponse>(
        (metadata, options, callback) => client.push(metadata, options, callback),
        settings,
      );
      for (const size of sizes) await call.write({ part: { $case: 'data', value: Buffer.alloc(size) } });
      await call.finish();
    };
    await expect(push([MiB, MiB, MiB, maxMessageBytes, MiB, MiB])).rejects.toThrow('larger than max');
    await push([MiB, MiB, MiB]);
    client.close();
    await pair.stop();
    expect(pieces.large()).toBeGreaterThanOrEqual(3);
  });
});

/** Bytes of a stream whose messages are of many sizes, and are overwritten as soon as they may be. */
const contents = Array.from({ length: 60 }, (_, index) => randomBytes(index % 3 === 0 ? MiB : index * 20_011));

describe('a stream in buffers that are used again', () => {
  it.each([
    ['at once', 0],
    ['after a pause, in which its beginning is kept in pieces', 300],
  ])('arrives as it was sent, on the way to the server that takes it %s', async (_, pauseMs) => {
    const arrived: Buffer[] = [];
    const pair = await startPair(({ clientStream }) => ({
      push: clientStream(async (messages: AsyncIterable<PushRequest>) => {
        await sleep(pauseMs);
        for await (const { part } of messages) {
          if (part?.$case !== 'data') continue;
          arrived.push(Buffer.from(part.value));
          part.value.fill(0xee);
          Lease.claim(part.value).release();
        }
        return { backup: undefined };
      }),
    }));
    const { client } = await pair.connect();
    const call = callClientStream<PushRequest, PushResponse>(
      (metadata, options, callback) => client.push(metadata, options, callback),
      settings,
    );
    for (const content of contents) {
      const lease = Lease.take(content.length);
      content.copy(lease.bytes);
      await call.write({ part: { $case: 'data', value: lease.bytesForMessage } }, () => {
        lease.bytes.fill(0xdd);
        lease.release();
      });
    }
    await call.finish();
    expect(Buffer.concat(arrived).equals(Buffer.concat(contents))).toBe(true);
    await pair.stop();
  });

  it('arrives as it was sent, on the way to the client', async () => {
    const pair = await startPair(({ serverStream }) => ({
      pull: serverStream(
        async function* (): AsyncGenerator<PullResponse> {
          for (const content of contents) {
            const lease = Lease.take(content.length);
            content.copy(lease.bytes);
            yield { part: { $case: 'data', value: lease.bytesForMessage } };
          }
        },
        {
          onSent: ({ part }) => {
            if (part?.$case !== 'data') return;
            part.value.fill(0xdd);
            Lease.claim(part.value).release();
          },
        },
      ),
    }));
    const { client } = await pair.connect();
    const stream = callServerStream<PullResponse>(
      (metadata, options) => client.pull(PullRequest.fromPartial({ backupId: 'any' }), metadata, options),
      settings,
    );
    const arrived: Buffer[] = [];
    for await (const { part } of stream) {
      if (part?.$case !== 'data') continue;
      arrived.push(Buffer.from(part.value));
      part.value.fill(0xee);
      Lease.claim(part.value).release();
    }
    expect(Buffer.concat(arrived).equals(Buffer.concat(contents))).toBe(true);
    await pair.stop();
  });

  it.each([
    ['nothing', 0],
    ['nothing more', 2],
  ])('are not said to be sent before they are: not while the server takes %s', async (_, taken) => {
    const release: { now: () => void } = { now: () => {} };
    const pair = await startPair(({ clientStream }) => ({
      push: clientStream(async (messages: AsyncIterable<PushRequest>) => {
        const iterator = messages[Symbol.asyncIterator]();
        for (let count = 0; count < taken; count += 1) await iterator.next();
        await new Promise<void>((resolve) => {
          release.now = resolve;
        });
        while ((await iterator.next()).done !== true);
        return { backup: undefined };
      }),
    }));
    const { client } = await pair.connect();
    const call = callClientStream<PushRequest, PushResponse>(
      (metadata, options, callback) => client.push(metadata, options, callback),
      settings,
    );
    // Less than a MiB each: grpc-js would keep those for a retry, and call back at once.
    const size = 500_000;
    let sent = 0;
    const total = 60;
    const writing = (async () => {
      for (let index = 0; index < total; index += 1) {
        await call.write({ part: { $case: 'data', value: Lease.take(size).bytes } }, () => {
          sent += 1;
        });
      }
    })();
    await vi.waitFor(() => {
      expect(sent).toBeGreaterThan(10);
    });
    await sleep(300);
    // The window, what the server's call has read ahead, and what the two ends of the connection hold besides.
    expect((sent - taken) * size).toBeLessThan(defaultWindowBytes + (taken > 0 ? 6 : 2) * MiB);
    release.now();
    await writing;
    await call.finish();
    await vi.waitFor(() => {
      expect(sent).toBe(total);
    });
    await pair.stop();
  });
});
