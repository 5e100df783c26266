import { createServer } from 'node:net';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { FerryError } from '../errors/ferry-error.js';
import {
  PullRequest,
  type HandshakeRequest,
  type PullResponse,
  type PushRequest,
  type PushResponse,
} from '../gen/rbdferry/v1/transfer.js';
import { callClientStream, callServerStream, callUnary, type CallSettings } from './calls.js';
import type { CallContext } from './handlers.js';
import { createClient, startPair, type ServicePair, type TestHandlers } from './service-pair.js';

const peer = { unreachable: 'RECEIVER_UNREACHABLE', peer: 'receiver "dr" at backup:7443' } as const;
const hello: HandshakeRequest = { protocolMin: 1, protocolMax: 1, software: 'test', capabilities: [] };
const data = (bytes: number): PushRequest => ({ part: { $case: 'data', value: Buffer.alloc(bytes, 7) } });
const commit: PushRequest = { part: { $case: 'commit', value: { streamBytes: 1n, streamGmac: Buffer.alloc(0) } } };
const answer: PushResponse = { backup: undefined };

let pair: ServicePair | undefined;

afterEach(async () => {
  const running = pair;
  pair = undefined;
  await running?.stop();
});

/** A connected client; each row of the table of endings begins with it. */
const connected = async (handlers: TestHandlers) => {
  pair = await startPair(handlers);
  const { client, cut } = await pair.connect();
  const greet = (settings: Partial<CallSettings> = {}) =>
    callUnary(client.handshake.bind(client), hello, { peer, ...settings });
  const push = (settings: Partial<CallSettings> = {}) =>
    callClientStream<PushRequest, PushResponse>(
      (metadata, options, callback) => client.push(metadata, options, callback),
      { peer, ...settings },
    );
  const pull = (settings: Partial<CallSettings> = {}) =>
    callServerStream<PullResponse>(
      (metadata, options) => client.pull(PullRequest.fromPartial({ backupId: 'x' }), metadata, options),
      {
        peer,
        ...settings,
      },
    );
  return { pair, client, cut, greet, push, pull };
};

/** A promise with its handles, and whether anybody has settled it. */
const gate = <T = void>() => {
  let open: (value: T) => void = () => {};
  const opened = new Promise<T>((resolve) => {
    open = resolve;
  });
  return { open, opened };
};

const never = new Promise<never>(() => {});

const failureOf = async (step: Promise<unknown>): Promise<FerryError> => {
  try {
    await step;
  } catch (thrown) {
    if (thrown instanceof FerryError) return thrown;
    throw new Error(`expected a FerryError, not ${String(thrown)}`, { cause: thrown });
  }
  throw new Error('expected a failure');
};

const aborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve();
    else
      signal.addEventListener('abort', () => {
        resolve();
      });
  });

const collect = async <T>(items: AsyncIterable<T>): Promise<T[]> => {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
};

const greeting = {
  protocol: 1,
  software: 's',
  capabilities: [],
  stores: ['rbd2'],
  client: '',
  timeMs: 0n,
  policies: {},
};
const detailed = () => new FerryError('IMAGE_BUSY', 'the image "rbd/vm1" is busy', { hint: 'wait for job "x"' });
const expectDetailed = (error: FerryError) => {
  expect(error).toMatchObject({ code: 'IMAGE_BUSY', message: 'the image "rbd/vm1" is busy', hint: 'wait for job "x"' });
};

describe('a unary call', () => {
  it('answers', async () => {
    const { greet } = await connected(({ unary }) => ({ handshake: unary(() => Promise.resolve(greeting)) }));
    expect(await greet()).toEqual(greeting);
  });

  it('fails with the code, message and hint of a handler that rejects, and the listener is told', async () => {
    const { greet, pair } = await connected(({ unary }) => ({ handshake: unary(() => Promise.reject(detailed())) }));
    expectDetailed(await failureOf(greet()));
    expect(pair.failures.map(({ error, context }) => [error.code, context.method, context.client])).toEqual([
      ['IMAGE_BUSY', '/rbdferry.v1.TransferService/Handshake', null],
    ]);
  });

  it('fails the same way with a handler that throws before it makes a promise', async () => {
    const { greet, pair } = await connected(({ unary }) => ({
      handshake: unary(() => {
        throw detailed();
      }),
    }));
    expectDetailed(await failureOf(greet()));
    expect(pair.failures).toHaveLength(1);
  });

  it('takes an unexpected error for a defect', async () => {
    const { greet } = await connected(({ unary }) => ({
      handshake: unary(() => Promise.reject(new TypeError('x is undefined'))),
    }));
    expect(await failureOf(greet())).toMatchObject({ code: 'INTERNAL', message: 'x is undefined' });
  });

  it('of a method the server lacks is a protocol mismatch', async () => {
    const { greet } = await connected(() => ({}));
    expect((await failureOf(greet())).code).toBe('PROTOCOL_MISMATCH');
  });

  it('fails as unreachable at its deadline, and the handler is told', async () => {
    const told = gate<CallContext>();
    const { greet } = await connected(({ unary }) => ({
      handshake: unary((_, context) => {
        told.open(context);
        return never;
      }),
    }));
    expect((await failureOf(greet({ timeoutMs: 200 }))).code).toBe('RECEIVER_UNREACHABLE');
    await aborted((await told.opened).signal);
  });

  it('ends with the reason of its signal, and the handler is told', async () => {
    const told = gate<CallContext>();
    const { greet } = await connected(({ unary }) => ({
      handshake: unary((_, context) => {
        told.open(context);
        return never;
      }),
    }));
    const controller = new AbortController();
    const failed = failureOf(greet({ signal: controller.signal }));
    const { signal } = await told.opened;
    controller.abort(new FerryError('JOB_INTERRUPTED', 'the agent stops'));
    expect(await failed).toMatchObject({ code: 'JOB_INTERRUPTED', message: 'the agent stops' });
    await aborted(signal);
  });

  it('is not made when its signal is aborted already', async () => {
    const handshake = vi.fn(() => Promise.resolve(greeting));
    const { greet } = await connected(({ unary }) => ({ handshake: unary(handshake) }));
    expect((await failureOf(greet({ signal: AbortSignal.abort() }))).code).toBe('CANCELLED');
    expect(handshake).not.toHaveBeenCalled();
  });

  it('leaves no listener on its signal', async () => {
    const { greet } = await connected(({ unary }) => ({ handshake: unary(() => Promise.resolve(greeting)) }));
    const { signal } = new AbortController();
    const removed = vi.spyOn(signal, 'removeEventListener');
    const added = vi.spyOn(signal, 'addEventListener');
    await greet({ signal });
    expect(removed.mock.calls.length).toBe(added.mock.calls.length);
    expect(added).toHaveBeenCalled();
  });

  it('whose connection breaks is a lost connection', async () => {
    const told = gate<CallContext>();
    const { greet, cut } = await connected(({ unary }) => ({
      handshake: unary((_, context) => {
        told.open(context);
        return never;
      }),
    }));
    const failed = failureOf(greet());
    const { signal } = await told.opened;
    cut();
    expect((await failed).code).toBe('CONNECTION_LOST');
    await aborted(signal);
  });

  it('on a closed client fails as a FerryError', async () => {
    const { greet, client } = await connected(({ unary }) => ({ handshake: unary(() => Promise.resolve(greeting)) }));
    client.close();
    expect((await failureOf(greet())).code).toBe('INTERNAL');
  });
});

describe('nobody there', () => {
  const greet = (target: string) => {
    const client = createClient(target);
    const started = performance.now();
    return failureOf(
      callUnary(client.handshake.bind(client), hello, {
        peer: { unreachable: 'AGENT_UNREACHABLE', peer: 'the agent' },
        timeoutMs: 20_000,
      }),
    )
      .finally(() => {
        client.close();
      })
      .then((error) => ({ error, ms: performance.now() - started }));
  };

  it.each([
    ['a closed port', async () => `localhost:${await freePort()}`],
    ['a closed port by address', async () => `127.0.0.1:${await freePort()}`],
    ['a socket that is not there', () => Promise.resolve('unix:/nonexistent/agent.sock')],
    ['a path below a file', () => Promise.resolve('unix:/etc/hostname/agent.sock')],
    ['a name that does not exist', () => Promise.resolve('no-such-host.invalid:7443')],
    ['a name that sounds like TLS', () => Promise.resolve('tls-certificate-alert.invalid:7443')],
  ])('%s is unreachable, at once', async (_, target) => {
    const { error, ms } = await greet(await target());
    expect(error.code).toBe('AGENT_UNREACHABLE');
    expect(error.message).toMatch(/^the agent: /);
    expect(ms).toBeLessThan(3_000);
  });
});

const freePort = (): Promise<number> =>
  new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => {
        resolve(typeof address === 'object' && address !== null ? address.port : 0);
      });
    });
  });

describe('a client stream', () => {
  const MiB = 1024 * 1024;

  it('arrives whole and is answered; writes wait for room', async () => {
    const start = gate();
    const { push } = await connected(({ clientStream }) => ({
      push: clientStream(async (messages) => {
        await start.opened;
        let bytes = 0;
        for await (const { part } of messages) if (part?.$case === 'data') bytes += part.value.length;
        throw new FerryError('INVALID_REQUEST', `got ${bytes}`);
      }),
    }));
    const call = push();
    let written = 0;
    const all = (async () => {
      for (; written < 64; written += 1) await call.write(data(MiB));
    })();
    await settledFor(300);
    // The windows (16 MiB each) and the stream's own queue hold some; the rest waits.
    expect(written).toBeLessThan(60);
    start.open();
    await all;
    expect((await failureOf(call.finish())).message).toBe(`got ${64 * MiB}`);
  });

  it('cancelled in mid-upload: the handler ends and is told, the client gets CANCELLED', async () => {
    const seen = gate<CallContext>();
    const ended = gate<string>();
    const { push, pair } = await connected(({ clientStream }) => ({
      push: clientStream(async (messages, context) => {
        try {
          for await (const _ of messages) seen.open(context);
          ended.open('normally');
        } catch (thrown) {
          ended.open('with an error');
          throw thrown;
        }
        return answer;
      }),
    }));
    const call = push();
    await call.write(data(MiB));
    const { signal } = await seen.opened;
    call.cancel();
    // Either way: the end of the messages is never success.
    expect(['normally', 'with an error']).toContain(await ended.opened);
    await aborted(signal);
    expect((await failureOf(call.finish())).code).toBe('CANCELLED');
    expect((await failureOf(call.write(data(1)))).code).toBe('CANCELLED');
    // The abrupt end of the messages is no defect of ours, and must not be logged as one.
    for (const { error } of pair.failures) expect(error.code).toBe('CANCELLED');
  });

  it('of a client that dies: the handler ends and is told', async () => {
    const seen = gate<CallContext>();
    const ended = gate();
    const { push, cut, pair } = await connected(({ clientStream }) => ({
      push: clientStream(async (messages, context) => {
        try {
          for await (const _ of messages) seen.open(context);
        } finally {
          ended.open();
        }
        return answer;
      }),
    }));
    const call = push();
    await call.write(data(MiB));
    const { signal } = await seen.opened;
    cut();
    await ended.opened;
    await aborted(signal);
    expect(signal.reason).toMatchObject({ code: 'CANCELLED' });
    expect((await failureOf(call.finish())).code).toBe('CONNECTION_LOST');
    for (const { error } of pair.failures) expect(error.code).toBe('CANCELLED');
  });

  it.each(['cancels', 'dies'])(
    'of a client that %s while much of it is unread: never a defect, never success',
    async (how) => {
      const seen = gate<CallContext>();
      const goOn = gate();
      const ended = gate();
      const { push, cut, pair } = await connected(({ clientStream }) => ({
        push: clientStream(async (messages, context) => {
          try {
            for await (const _ of messages) {
              seen.open(context);
              await goOn.opened;
            }
          } finally {
            ended.open();
          }
          return answer;
        }),
      }));
      const call = push();
      const failed = failureOf(
        (async () => {
          for (;;) await call.write(data(MiB));
        })(),
      );
      const { signal } = await seen.opened;
      await settledFor(200);
      if (how === 'dies') cut();
      else call.cancel();
      await aborted(signal);
      goOn.open();
      expect((await failed).code).toBe(how === 'dies' ? 'CONNECTION_LOST' : 'CANCELLED');
      await ended.opened;
      for (const { error } of pair.failures) expect(error.code).toBe('CANCELLED');
    },
  );

  it('a client that dies while its write waits for room gets CONNECTION_LOST', async () => {
    const { push, cut } = await connected(({ clientStream }) => ({ push: clientStream(() => never) }));
    const call = push();
    const failed = failureOf(
      (async () => {
        for (;;) await call.write(data(MiB));
      })(),
    );
    await settledFor(200);
    cut();
    expect((await failed).code).toBe('CONNECTION_LOST');
  });

  it('answered early with an error while the client waits for room: the write fails with that error', async () => {
    const refuse = gate();
    const { push } = await connected(({ clientStream }) => ({
      push: clientStream(async () => {
        await refuse.opened;
        throw detailed();
      }),
    }));
    const call = push();
    let waiting = 0;
    const failed = failureOf(
      (async () => {
        for (;;) {
          waiting += 1;
          await call.write(data(MiB));
          waiting -= 1;
        }
      })(),
    );
    await settledFor(300);
    expect(waiting).toBe(1);
    refuse.open();
    expectDetailed(await failed);
    expectDetailed(await failureOf(call.write(data(1))));
    expectDetailed(await failureOf(call.finish()));
    call.cancel();
  });

  it('answered early with an error while the client is idle: the next write fails with that error', async () => {
    const { push, pair } = await connected(({ clientStream }) => ({
      push: clientStream(() => Promise.reject(detailed())),
    }));
    const call = push();
    await call.write(data(1));
    await vi.waitFor(() => {
      expect(pair.failures).toHaveLength(1);
    });
    await settledFor(100);
    expectDetailed(await failureOf(call.write(data(1))));
  });

  it('a handler that throws before it makes a promise fails the call the same way', async () => {
    const { push, pair } = await connected(({ clientStream }) => ({
      push: clientStream(() => {
        throw detailed();
      }),
    }));
    const call = push();
    expectDetailed(await failureOf(call.finish()));
    expect(pair.failures).toHaveLength(1);
  });

  it('that is answered well on its last message, before its end, has its answer', async () => {
    const { push, pair } = await connected(({ clientStream }) => ({
      push: clientStream(async (messages) => {
        for await (const { part } of messages) if (part?.$case === 'commit') return answer;
        throw new FerryError('STREAM_TRUNCATED', 'no commit');
      }),
    }));
    const call = push();
    await call.write(commit);
    // The server has answered long before the client says that it is done.
    await settledFor(200);
    expect(await call.finish()).toEqual(answer);
    expect(pair.failures).toEqual([]);
  });

  it('that is answered well and writes on is told that nobody reads it', async () => {
    const { push } = await connected(({ clientStream }) => ({ push: clientStream(() => Promise.resolve(answer)) }));
    const call = push();
    await settledFor(200);
    expect((await failureOf(call.write(data(1)))).code).toBe('INTERNAL');
    expect(await call.finish()).toEqual(answer);
  });

  it('whose signal aborts while it waits for room ends with the reason, and the handler is told', async () => {
    const told = gate<CallContext>();
    const { push } = await connected(({ clientStream }) => ({
      push: clientStream((_, context) => {
        told.open(context);
        return never;
      }),
    }));
    const controller = new AbortController();
    const call = push({ signal: controller.signal });
    const failed = failureOf(
      (async () => {
        for (;;) await call.write(data(MiB));
      })(),
    );
    const { signal } = await told.opened;
    await settledFor(200);
    controller.abort(new FerryError('JOB_INTERRUPTED', 'the agent stops'));
    expect((await failed).code).toBe('JOB_INTERRUPTED');
    await aborted(signal);
  });

  it('whose signal is aborted already is not started', async () => {
    const { push } = await connected(() => ({}));
    expect(() => push({ signal: AbortSignal.abort() })).toThrow(FerryError);
  });

  it('may have messages above the 4 MiB that grpc-js takes by itself, in both directions', async () => {
    const { push, greet } = await connected(({ clientStream, unary }) => ({
      push: clientStream(async (messages) => {
        for await (const { part } of messages)
          if (part?.$case === 'data') throw new FerryError('INVALID_REQUEST', `got ${part.value.length}`);
        return answer;
      }),
      handshake: unary(() => Promise.resolve({ ...greeting, software: 'x'.repeat(12 * MiB) })),
    }));
    const call = push();
    await call.write(data(12 * MiB));
    expect((await failureOf(call.finish())).message).toBe(`got ${12 * MiB}`);
    expect((await greet()).software).toHaveLength(12 * MiB);
  });

  it('with a message above the limit fails, and does not hang', async () => {
    const { push } = await connected(({ clientStream }) => ({
      push: clientStream(async (messages) => {
        for await (const _ of messages);
        return answer;
      }),
    }));
    const call = push();
    const failed = failureOf(
      (async () => {
        await call.write(data(17 * MiB));
        await call.finish();
      })(),
    );
    expect((await failed).code).toBe('INVALID_REQUEST');
  });
});

describe('a server that stops and breaks its calls off', () => {
  it('is a lost connection for every kind of call', async () => {
    const told = gate<CallContext>();
    const { greet, push, pull, pair } = await connected(({ unary, clientStream, serverStream }) => ({
      handshake: unary(() => never),
      push: clientStream(() => never),
      pull: serverStream(async function* (_, context) {
        yield { part: { $case: 'data', value: Buffer.from('x') } };
        told.open(context);
        await never;
      }),
    }));
    const call = push();
    await call.write(data(1));
    const failed = [
      failureOf(greet()),
      failureOf(collect(pull())),
      failureOf(call.finish()),
      failureOf(
        (async () => {
          const blocked = push();
          for (;;) await blocked.write(data(1024 * 1024));
        })(),
      ),
    ];
    const { signal } = await told.opened;
    await settledFor(100);
    await pair.server.stop(50);
    for (const error of await Promise.all(failed)) expect(error.code).toBe('CONNECTION_LOST');
    await aborted(signal);
  });
});

/** Lets things happen that must not; only for proving that nothing happens, or that something has long happened. */
const settledFor = (ms: number): Promise<void> =>
  new Promise((resolve) => {
    setTimeout(resolve, ms);
  });

describe('a server stream', () => {
  const item = (bytes = 1): PullResponse => ({ part: { $case: 'data', value: Buffer.alloc(bytes, 1) } });
  const sizes = (items: PullResponse[]) => items.map(({ part }) => (part?.$case === 'data' ? part.value.length : -1));

  it('arrives whole', async () => {
    const { pull } = await connected(({ serverStream }) => ({
      pull: serverStream(async function* () {
        for (let bytes = 0; bytes < 100; bytes += 1) yield item(bytes);
      }),
    }));
    expect(sizes(await collect(pull()))).toEqual(Array.from({ length: 100 }, (_, bytes) => bytes));
  });

  it('of nothing ends', async () => {
    const { pull } = await connected(({ serverStream }) => ({ pull: serverStream(async function* () {}) }));
    expect(await collect(pull())).toEqual([]);
  });

  it('whose source fails: what came before arrives, then the error', async () => {
    const { pull } = await connected(({ serverStream }) => ({
      pull: serverStream(async function* () {
        for (let count = 0; count < 50; count += 1) yield item(100_000);
        throw detailed();
      }),
    }));
    let got = 0;
    const failed = failureOf(
      (async () => {
        for await (const _ of pull()) got += 1;
      })(),
    );
    expectDetailed(await failed);
    expect(got).toBe(50);
  });

  it('whose source fails at once gives the error', async () => {
    const { pull } = await connected(({ serverStream }) => ({
      pull: serverStream(async function* () {
        yield* [];
        throw detailed();
      }),
    }));
    expectDetailed(await failureOf(collect(pull())));
  });

  it('whose source cannot even be made gives the error', async () => {
    const { pull, pair } = await connected(({ serverStream }) => ({
      pull: serverStream(() => {
        throw detailed();
      }),
    }));
    expectDetailed(await failureOf(collect(pull())));
    expect(pair.failures).toHaveLength(1);
  });

  it('does not run ahead of a slow reader', async () => {
    let made = 0;
    const { pull } = await connected(({ serverStream }) => ({
      pull: serverStream(async function* () {
        for (; made < 200; made += 1) yield item(1024 * 1024);
      }),
    }));
    const stream = pull();
    await stream.next();
    await settledFor(400);
    // The client's windows and the queues of both ends hold some 16 MiB each.
    expect(made).toBeLessThan(100);
    await stream.return();
  });

  it.each([0, 1024 * 1024])('left early by the client ends on the server (messages of %i bytes)', async (bytes) => {
    const ended = gate<CallContext>();
    const { pull, pair } = await connected(({ serverStream }) => ({
      pull: serverStream(async function* (_, context) {
        try {
          for (;;) yield item(bytes);
        } finally {
          ended.open(context);
        }
      }),
    }));
    for await (const _ of pull()) break;
    const { signal } = await ended.opened;
    await aborted(signal);
    await vi.waitFor(() => {
      expect(pair.failures.map(({ error }) => error.code)).toEqual(['CANCELLED']);
    });
  });

  it('left by a client that dies ends on the server, and is a lost connection for the client', async () => {
    const ended = gate();
    const { pull, cut } = await connected(({ serverStream }) => ({
      pull: serverStream(async function* () {
        try {
          for (;;) yield item(100_000);
        } finally {
          ended.open();
        }
      }),
    }));
    const stream = pull();
    await stream.next();
    cut();
    const failed = failureOf(
      (async () => {
        for await (const _ of stream);
      })(),
    );
    await ended.opened;
    expect((await failed).code).toBe('CONNECTION_LOST');
  });

  it('whose signal aborts ends with the reason, also while nothing comes', async () => {
    const told = gate<CallContext>();
    const { pull } = await connected(({ serverStream }) => ({
      pull: serverStream(async function* (_, context) {
        yield item();
        told.open(context);
        await aborted(context.signal);
        throw new FerryError('CANCELLED', 'gone');
      }),
    }));
    const controller = new AbortController();
    const failed = failureOf(collect(pull({ signal: controller.signal })));
    const { signal } = await told.opened;
    controller.abort(new FerryError('JOB_INTERRUPTED', 'the agent stops'));
    expect((await failed).code).toBe('JOB_INTERRUPTED');
    await aborted(signal);
  });

  it('whose signal is aborted already is not started', async () => {
    const { pull } = await connected(() => ({}));
    expect((await failureOf(collect(pull({ signal: AbortSignal.abort() })))).code).toBe('CANCELLED');
  });

  it('past its deadline is unreachable', async () => {
    const { pull } = await connected(({ serverStream }) => ({
      pull: serverStream(async function* (_, { signal }) {
        yield item();
        await aborted(signal);
      }),
    }));
    expect((await failureOf(collect(pull({ timeoutMs: 200 })))).code).toBe('RECEIVER_UNREACHABLE');
  });

  it('of a closed client fails as a FerryError', async () => {
    const { pull, client } = await connected(() => ({}));
    client.close();
    expect((await failureOf(collect(pull()))).code).toBe('INTERNAL');
  });
});
