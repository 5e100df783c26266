import { Metadata, status, type ServiceError } from '@grpc/grpc-js';
import * as fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { FerryError } from '../errors/ferry-error.js';
import { errorRegistry, isErrorCode, type ErrorCode } from '../errors/registry.js';
import { ErrorDetail } from '../gen/rbdferry/v1/model.js';
import { StatusDetails } from '../gen/rbdferry/v1/status.js';
import { callUnary } from './calls.js';
import { errorFromCall, errorToStatus } from './error-wire.js';
import { startPair, type ServicePair } from './service-pair.js';

const peer = { unreachable: 'RECEIVER_UNREACHABLE', peer: 'receiver "dr"' } as const;
const codes = Object.keys(errorRegistry).filter(isErrorCode);
const hello = { protocolMin: 1, protocolMax: 1, software: 'test', capabilities: [] };

let pair: ServicePair | undefined;

afterEach(async () => {
  await pair?.stop();
  pair = undefined;
});

/** What a client gets of the errors that a server throws, one call each. */
const overTheWire = async (errors: readonly unknown[]): Promise<FerryError[]> => {
  const queue = [...errors];
  pair = await startPair(({ unary }) => ({ handshake: unary(() => Promise.reject(queue.shift() as Error)) }));
  const { client } = await pair.connect();
  const got: FerryError[] = [];
  for (const _ of errors) {
    try {
      await callUnary(client.handshake.bind(client), hello, { peer, timeoutMs: 5_000 });
    } catch (thrown) {
      if (thrown instanceof FerryError) got.push(thrown);
    }
  }
  return got;
};

/** An error as grpc-js gives it to a client, from a status as a server of ours sends it. */
const received = (sent: { code: number; details: string; metadata?: Metadata | null }): ServiceError =>
  Object.assign(new Error(`${sent.code}: ${sent.details}`), {
    code: sent.code,
    details: sent.details,
    metadata: sent.metadata ?? new Metadata(),
  });

const withDetail = (bytes: Uint8Array): ServiceError => {
  const metadata = new Metadata();
  metadata.set('grpc-status-details-bin', Buffer.from(bytes));
  return received({ code: status.NOT_FOUND, details: 'the status text', metadata });
};

const detailOf = (detail: ErrorDetail, typeUrl = 'type.googleapis.com/rbdferry.v1.ErrorDetail'): Uint8Array =>
  StatusDetails.encode({
    code: status.NOT_FOUND,
    message: 'the status text',
    details: [{ typeUrl, value: Buffer.from(ErrorDetail.encode(detail).finish()) }],
  }).finish();

describe('an error that crosses the wire', () => {
  it('keeps its code, message and hint, whatever the code', async () => {
    const sent = codes.map((code, index) => new FerryError(code, `no. ${index} "x"`, { hint: `do ${code}` }));
    const got = await overTheWire(sent);
    expect(got.map(({ code, message, hint }) => ({ code, message, hint }))).toEqual(
      sent.map(({ code, message, hint }) => ({ code, message, hint })),
    );
  });

  it('has the gRPC status of the registry', () => {
    for (const code of codes) {
      const { status: name } = errorRegistry[code];
      expect(errorToStatus(new FerryError(code, 'x')).code, code).toBe(status[name]);
    }
  });

  it('keeps text outside ASCII, line breaks and percent signs', async () => {
    const texts = ['das Abbild "größe/вм1" 🚢 fehlt', 'two\nlines\r\n', '100% of %41 %zz', '\u0000\u007f\t', '', ' x '];
    const got = await overTheWire(texts.map((text) => new FerryError('CEPH_FAILED', text, { hint: `${text}!` })));
    expect(got.map(({ message }) => message)).toEqual(texts);
    expect(got.map(({ hint }) => hint)).toEqual(texts.map((text) => `${text}!`));
  });

  it('is cut when it is very long, between characters, and stays below 8 KiB of trailers', async () => {
    const units = ['a', 'ü', '本', '🚢', '"', ' '];
    const sent = units.map(
      (unit) => new FerryError('CEPH_FAILED', unit.repeat(100_000), { hint: unit.repeat(50_000) }),
    );
    const got = await overTheWire(sent);
    for (const [index, unit] of units.entries()) {
      const { code, message, hint } = got[index] ?? new FerryError('INTERNAL', 'nothing came');
      expect(code).toBe('CEPH_FAILED');
      for (const text of [message, hint]) {
        expect(text.endsWith('...')).toBe(true);
        expect(text.slice(0, -3).replaceAll(unit, '')).toBe('');
        expect(Buffer.byteLength(text)).toBeGreaterThan(990);
      }
    }
    for (const error of sent) {
      const { details, metadata } = errorToStatus(error);
      const [raw] = metadata?.get('grpc-status-details-bin') ?? [];
      const trailers = encodeURI(details).length + Math.ceil((Buffer.from(raw ?? '').length * 4) / 3);
      expect(trailers).toBeLessThan(8_000);
    }
  });

  it('with half a character (a surrogate without its other half) arrives, and does not kill the server', async () => {
    const got = await overTheWire([
      new FerryError('CEPH_FAILED', 'bad \ud83d name', { hint: 'rename \udea2' }),
      new FerryError('CEPH_FAILED', `${'x'.repeat(1999)}🚢`, { hint: 'y' }),
    ]);
    expect(got[0]).toMatchObject({ code: 'CEPH_FAILED', message: 'bad \ufffd name', hint: 'rename \ufffd' });
    expect(got[1]?.code).toBe('CEPH_FAILED');
  });

  it('that is none of ours is a defect with its message', async () => {
    const got = await overTheWire([new TypeError('x is undefined'), 'just text', null]);
    expect(got.map(({ code, message }) => [code, message])).toEqual([
      ['INTERNAL', 'x is undefined'],
      ['INTERNAL', 'just text'],
      ['INTERNAL', 'null'],
    ]);
  });

  it('survives any text', () => {
    fc.assert(
      fc.property(fc.constantFrom(...codes), fc.string({ unit: 'binary', maxLength: 300 }), (code, text) => {
        const sent = new FerryError(code, text, { hint: text });
        const got = errorFromCall(received(errorToStatus(sent)), peer);
        expect(got.code).toBe(code);
        expect(got.message).toBe(Buffer.from(text).toString());
        expect(() => encodeURI(errorToStatus(sent).details)).not.toThrow();
      }),
    );
  });
});

describe('an error of another release or program', () => {
  it('with a code that this release does not know keeps its name, message and hint', () => {
    const error = errorFromCall(
      withDetail(detailOf({ code: 'QUOTA_EXCEEDED', message: 'too much', hint: 'pay' })),
      peer,
    );
    expect(error).toMatchObject({ code: 'INTERNAL', message: 'QUOTA_EXCEEDED: too much', hint: 'pay' });
  });

  it.each(['constructor', '__proto__', 'toString', ''])('with the code %j is not taken for one', (code) => {
    expect(errorFromCall(withDetail(detailOf({ code, message: 'm', hint: '' })), peer).code).toBe('INTERNAL');
  });

  it('without a hint has that of the registry', () => {
    const error = errorFromCall(withDetail(detailOf({ code: 'IMAGE_BUSY', message: 'm', hint: '' })), peer);
    expect(error.hint).toBe(errorRegistry.IMAGE_BUSY.hint);
  });

  it('with details of another kind has the status and its text', () => {
    const other = detailOf({ code: 'IMAGE_BUSY', message: 'm', hint: 'h' }, 'type.googleapis.com/google.rpc.ErrorInfo');
    expect(errorFromCall(withDetail(other), peer).message).toBe('receiver "dr": the status text');
  });

  it('with details that are garbage has the status and its text', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 60 }), (bytes) => {
        const error = errorFromCall(withDetail(bytes), peer);
        expect(error).toBeInstanceOf(FerryError);
        expect(error.message).toBe('receiver "dr": the status text');
      }),
    );
    const good = detailOf({ code: 'IMAGE_BUSY', message: 'mmm', hint: 'h' });
    for (let length = 0; length < good.length; length += 1)
      expect(errorFromCall(withDetail(good.subarray(0, length)), peer)).toBeInstanceOf(FerryError);
  });

  it.each<[keyof typeof status, ErrorCode]>([
    ['DEADLINE_EXCEEDED', 'RECEIVER_UNREACHABLE'],
    ['UNIMPLEMENTED', 'PROTOCOL_MISMATCH'],
    ['UNAUTHENTICATED', 'ACCESS_DENIED'],
    ['PERMISSION_DENIED', 'ACCESS_DENIED'],
    ['RESOURCE_EXHAUSTED', 'INVALID_REQUEST'],
    ['INVALID_ARGUMENT', 'INVALID_REQUEST'],
    ['UNAVAILABLE', 'CONNECTION_LOST'],
    ['CANCELLED', 'CONNECTION_LOST'],
    ['UNKNOWN', 'INTERNAL'],
    ['INTERNAL', 'INTERNAL'],
    ['NOT_FOUND', 'INTERNAL'],
  ])('%s without details is %s', (name, code) => {
    const error = errorFromCall(received({ code: status[name], details: 'text' }), peer);
    expect(error.code).toBe(code);
    expect(error.message).toMatch(/^receiver "dr": /);
  });

  it('thrown before there was a call is passed on', () => {
    const ours = new FerryError('USAGE', 'x');
    expect(errorFromCall(ours, peer)).toBe(ours);
    expect(errorFromCall(new Error('y'), peer)).toMatchObject({ code: 'INTERNAL', message: 'y' });
  });
});
