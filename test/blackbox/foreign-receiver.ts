import { Metadata, status, type UntypedServiceImplementation } from '@grpc/grpc-js';
import { randomBytes } from '../ceph/image-content.js';
import * as diff from './diff-v1.js';
import { serve, type Message } from './wire.js';

/** A receiver that is not ours: it says whatever a test wants it to say, and is honest until then. */

const MiB = 1024 * 1024;
export const snap = '2026-01-01.00:00:00.000000.snap';
export const ghost = `rbd2/ghost.2026-01-01.00:00:00.000000.bkp.image@${snap}`;

type Callback = (error: unknown, answer?: Message) => void;

/** What a receiver of somebody else says, or throws as a Refusal; a test changes what it needs. */
export interface Behaviour {
  handshake: (request: { protocolMin: number; protocolMax: number }) => Message;
  backup: () => Message | null;
  pull: () => Message[];
  openPush: (request: Message) => Message;
  /** Whether it answers a push now that it has received these messages. */
  answersPush: (received: readonly Message[]) => boolean;
  push: () => Message;
}

export const size = 2 * MiB;
export const content = randomBytes('ghost', size);
export const stream = Buffer.concat([diff.banner, diff.toSnap(snap), diff.size(size), diff.data(0, content), diff.end]);

export const ghostBackup = (change: Message = {}, source: Message = {}, layout: Message = {}): Message => ({
  id: ghost,
  kind: 'BACKUP_KIND_FULL',
  sizeBytes: String(size),
  streamBytes: String(stream.length),
  dataBytes: String(size),
  streamGmac: diff.gmac(stream),
  committedAtMs: '1',
  client: 'agent1',
  source: {
    identity: {
      fsid: '6f3e0a52-7b2c-4c39-9d2b-1c0b8f9f0a11',
      image: { pool: 'rbd', namespace: '', image: 'ghost' },
      imageId: 'abc',
    },
    snapId: '4',
    layout: {
      sizeBytes: String(size),
      objectSizeBytes: 4 * MiB,
      stripeUnitBytes: String(4 * MiB),
      stripeCount: 1,
      features: ['layering'],
      ...layout,
    },
    metadata: {},
    ...source,
  },
  ...change,
});

export const pullOf = (
  bytes: Buffer,
  trailer: Message | null = { streamBytes: String(bytes.length), streamGmac: diff.gmac(bytes) },
): Message[] => [
  { header: ghostBackup() },
  ...Array.from({ length: Math.ceil(bytes.length / 300_000) }, (_, index) => ({
    data: bytes.subarray(index * 300_000, (index + 1) * 300_000),
  })),
  ...(trailer === null ? [] : [{ trailer }]),
];

/** The id that a receiver gives a full, by the rules of docs/on-disk.md. */
const idOf = (request: Message): string => {
  const asked = request as { store: string; snap: string; source: { identity: { image: { image: string } } } };
  return `${asked.store}/${asked.source.identity.image.image}.${asked.snap.slice(0, -'.snap'.length)}.bkp.image@${asked.snap}`;
};

export const honest = (): Behaviour => ({
  handshake: () => ({ protocol: 2, software: 'fake/1', stores: ['rbd2'], client: 'agent1' }),
  backup: () => ghostBackup(),
  pull: () => pullOf(stream),
  openPush: (request) => ({ transferId: 't', backupId: idOf(request) }),
  answersPush: (received) => received.at(-1)?.['commit'] !== undefined,
  push: () => ({ backup: ghostBackup() }),
});

/** A status as any gRPC server might send it. */
export class Refusal extends Error {
  constructor(
    readonly code: number,
    readonly details: string,
    readonly metadata = new Metadata(),
  ) {
    super(details);
  }
}

/** A status with an ErrorDetail, put together by hand. */
export const ferryRefusal = (code: string, grpcCode: number): Refusal => {
  const field = (number: number, bytes: Buffer): Buffer =>
    Buffer.concat([Buffer.of(number * 8 + 2, bytes.length), bytes]);
  const text = (number: number, value: string): Buffer => field(number, Buffer.from(value));
  const detail = Buffer.concat([text(1, code), text(2, `${code} of the fake`), text(3, 'the hint')]);
  const any = Buffer.concat([text(1, 'type.googleapis.com/rbdferry.v1.ErrorDetail'), field(2, detail)]);
  const metadata = new Metadata();
  metadata.set('grpc-status-details-bin', field(3, any));
  return new Refusal(grpcCode, `${code} of the fake`, metadata);
};

/** Gives the answer, or the refusal that was thrown instead. */
const reply = (done: Callback, answer: () => Message): void => {
  try {
    done(null, answer());
  } catch (refusal) {
    done(refusal);
  }
};

const handlersOf = (receiver: { readonly behaviour: Behaviour }) => ({
  handshake: (call: { request: { protocolMin: number; protocolMax: number } }, done: Callback) => {
    reply(done, () => receiver.behaviour.handshake(call.request));
  },
  listChains: (call: { end(): void }) => {
    call.end();
  },
  getBackup: (_: unknown, done: Callback) => {
    reply(done, () => {
      const backup = receiver.behaviour.backup();
      if (backup === null) throw ferryRefusal('BACKUP_NOT_FOUND', status.NOT_FOUND);
      return { backup };
    });
  },
  openPush: (call: { request: Message }, done: Callback) => {
    reply(done, () => receiver.behaviour.openPush(call.request));
  },
  push: (call: NodeJS.ReadableStream, done: Callback) => {
    const received: Message[] = [];
    let answered = false;
    call.on('data', (message: Message) => {
      received.push(message);
      if (answered || !receiver.behaviour.answersPush(received)) return;
      answered = true;
      reply(done, () => receiver.behaviour.push());
    });
  },
  pull: (call: { write(message: Message): void; end(): void }) => {
    for (const message of receiver.behaviour.pull()) call.write(message);
    call.end();
  },
});

export interface ForeignReceiver {
  /** What it does; to be changed at any time. */
  behaviour: Behaviour;
  readonly port: number;
  readonly stop: () => void;
}

/** @param pki the directory with its certificate, which is called `receiver` */
export const startForeignReceiver = async (pki: string): Promise<ForeignReceiver> => {
  const receiver = { behaviour: honest() };
  const handlers = handlersOf(receiver) as unknown as UntypedServiceImplementation;
  const served = await serve('TransferService', handlers, { dir: pki, name: 'receiver' });
  return Object.assign(receiver, served);
};
