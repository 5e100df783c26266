import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { credentials, Metadata, status, type UntypedServiceImplementation } from '@grpc/grpc-js';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { applyWrites, randomBytes, sha256OfExport } from '../ceph/cluster.js';
import { runCli, startDaemon, type Daemon } from '../harness/daemon.js';
import { expectError } from '../harness/expect-error.js';
import { imageNames, snapNames } from '../harness/look.js';
import { startPair, type Pair } from '../harness/pair.js';
import * as diff from './diff-v1.js';
import * as zstd from './zstd.js';
import { Caller, CallError, serve, type Message } from './wire.js';

/** The agent, driven over its socket by somebody else's program, and sent to receivers that are not ours. */

const MiB = 1024 * 1024;
const snap = '2026-01-01.00:00:00.000000.snap';
const chain = 'ghost.2026-01-01.00:00:00.000000.bkp.image';
const ghost = `rbd2/${chain}@${snap}`;

interface Job {
  readonly id: string;
  readonly kind: string;
  readonly image: string;
  readonly receiver: string;
  readonly store: string;
  readonly backupId: string;
  readonly backupKind: string;
  readonly createdAtMs: string;
  readonly startedAtMs: string;
  readonly endedAtMs: string;
  /** The state that is set. */
  readonly state: string;
  readonly queued?: Message;
  readonly running?: { readonly phase: string; readonly doneBytes: string };
  readonly committed?: { readonly streamBytes: string; readonly warnings: readonly string[] };
  readonly failed?: { readonly error: { readonly code: string; readonly message: string; readonly hint: string } };
}

let pair: Pair;
let agent: Caller;

const callerAt = (socket: string): Caller =>
  new Caller('ControlService', `unix:${socket}`, credentials.createInsecure());

beforeAll(async () => {
  pair = await startPair({ name: 'bbagent' });
  agent = callerAt(pair.socket);
  await pair.source.rbd(['create', '--size', '16M', 'rbd/vm1']);
  await applyWrites(pair.source, 'rbd/vm1', [{ offset: 5000, data: randomBytes('vm1', 3 * MiB) }]);
});

afterAll(async () => {
  agent?.close();
  await pair?.stop();
});

const failureOf = async (step: Promise<unknown>): Promise<CallError> => {
  const thrown = await step.then(
    () => new Error('expected a failure'),
    (thrown: unknown) => thrown,
  );
  if (thrown instanceof CallError) return thrown;
  throw thrown;
};

const start = async (method: 'startBackup' | 'startRestore', request: Message, caller = agent): Promise<Job> =>
  (await caller.unary<{ job: Job }>(method, request)).job;

/** Every state that a watcher is shown. */
const watch = async (id: string, caller = agent): Promise<Job[]> =>
  (await caller.all<{ job: Job }>('watchJob', { jobId: id })).map(({ job }) => job);

const ended = async (job: Job, caller = agent): Promise<Job> => {
  const last = (await watch(job.id, caller)).at(-1);
  if (last === undefined) throw new Error('the watch showed nothing');
  return last;
};

const snapOf = (id: string): string => id.slice(id.indexOf('@') + 1);

describe('the control service', () => {
  let first: Job;

  it('says who it is and which receivers it knows', async () => {
    expect(await agent.unary('getAgentInfo', {})).toEqual({
      software: expect.stringMatching(/^rbdferry\/\d+\.\d+\.\d+/),
      defaultReceiver: 'dr',
      receivers: [{ name: 'dr', address: `localhost:${pair.receiver.port}`, defaultStore: 'rbd2' }],
    });
  });

  it('backs up as a job that can be watched to its end', async () => {
    const started = await start('startBackup', { image: 'rbd/vm1' });
    expect(started).toMatchObject({ kind: 'JOB_KIND_BACKUP', image: 'rbd/vm1', receiver: 'dr', store: 'rbd2' });
    const states = await watch(started.id);
    expect(states.every(({ id }) => id === started.id)).toBe(true);
    expect(states.slice(0, -1).every(({ state }) => state === 'queued' || state === 'running')).toBe(true);
    first = states.at(-1) ?? started;
    expect(first).toMatchObject({ state: 'committed', backupKind: 'BACKUP_KIND_FULL' });
    expect(Number(first.committed?.streamBytes)).toBeGreaterThan(3 * MiB);
    expect(Number(first.createdAtMs)).toBeLessThanOrEqual(Number(first.startedAtMs));
    expect(Number(first.startedAtMs)).toBeLessThanOrEqual(Number(first.endedAtMs));
    expect(await sha256OfExport(pair.backup, first.backupId)).toBe(
      await sha256OfExport(pair.source, `rbd/vm1@${snapOf(first.backupId)}`),
    );
  });

  it('tells of a job that has ended', async () => {
    expect((await agent.unary<{ job: Job }>('getJob', { jobId: first.id })).job).toEqual(first);
    expect(await watch(first.id)).toEqual([first]);
    // Asked to stop a job that has ended, it answers with the job as it is.
    expect((await agent.unary<{ job: Job }>('cancelJob', { jobId: first.id })).job).toEqual(first);
  });

  it('makes the next backup an increment, and lists both', async () => {
    await applyWrites(pair.source, 'rbd/vm1', [{ offset: 9 * MiB, data: randomBytes('second', 10_000) }]);
    const second = await ended(await start('startBackup', { image: 'rbd/vm1', mode: 'BACKUP_MODE_INCREMENTAL' }));
    expect(second).toMatchObject({ state: 'committed', backupKind: 'BACKUP_KIND_INCREMENTAL' });
    const listed = await agent.all<{ chain: { backups: { id: string }[] }; presentOnSource: string[] }>('listBackups', {
      image: 'rbd/vm1',
    });
    expect(listed.flatMap(({ chain: { backups } }) => backups.map(({ id }) => id))).toEqual([
      first.backupId,
      second.backupId,
    ]);
    expect(listed.flatMap(({ presentOnSource }) => presentOnSource)).toEqual([second.backupId]);
    expect((await agent.all<{ chain: unknown }>('listBackups', {})).length).toBe(1);
  });

  it('restores under another name', async () => {
    const job = await start('startRestore', { backupId: first.backupId, to: 'rbd/back' });
    expect(await ended(job)).toMatchObject({ state: 'committed', kind: 'JOB_KIND_RESTORE', image: 'rbd/back' });
    expect(await sha256OfExport(pair.source, 'rbd/back')).toBe(await sha256OfExport(pair.backup, first.backupId));
    await pair.source.rbd(['snap', 'purge', 'rbd/back']);
    await pair.source.rbd(['rm', 'rbd/back']);
  });

  it('takes a limit for a part of the request', async () => {
    const request = { image: 'rbd/none', limitBytesPerSecond: '5000000', idempotencyKey: 'limited' };
    const job = await start('startBackup', request);
    expect(job).toMatchObject({ limitBytesPerSecond: '5000000' });
    expect((await start('startBackup', request)).id).toBe(job.id);
    const other = agent.unary('startBackup', { ...request, limitBytesPerSecond: '6000000' });
    expect((await failureOf(other)).detail.code).toBe('INVALID_REQUEST');
    const none = agent.unary('startBackup', { ...request, limitBytesPerSecond: '0' });
    expect((await failureOf(none)).detail.code).toBe('INVALID_REQUEST');
    await ended(job);
  });

  it('lists jobs, newest first, of one image, active ones, and so many', async () => {
    const list = async (request: Message): Promise<Job[]> =>
      (await agent.unary<{ jobs: Job[] }>('listJobs', request)).jobs;
    const all = await list({});
    const [backup, restore] = ['JOB_KIND_BACKUP', 'JOB_KIND_RESTORE'];
    expect(all.map(({ kind }) => kind)).toEqual([backup, restore, backup, backup]);
    expect((await list({ image: 'rbd/vm1' })).map(({ id }) => id)).toEqual(all.slice(2).map(({ id }) => id));
    expect(await list({ activeOnly: true })).toEqual([]);
    expect(await list({ limit: 1 })).toEqual(all.slice(0, 1));
  });

  it('cancels a running job, cleans up, and answers when that is done', async () => {
    await pair.source.rbd(['create', '--size', '512M', 'rbd/big']);
    await applyWrites(pair.source, 'rbd/big', [{ offset: 0, data: randomBytes('big', 400 * MiB) }]);
    const job = await start('startBackup', { image: 'rbd/big' });
    for await (const { job: now } of agent.stream<{ job: Job }>('watchJob', { jobId: job.id })) {
      if (now.running?.phase === 'transfer' && now.running.doneBytes !== '0') break;
    }
    const answer = await agent.unary<{ job: Job }>('cancelJob', { jobId: job.id });
    expect(answer.job.state).toBe('cancelled');
    expect(await snapNames(pair.source, 'rbd/big')).toEqual([]);
    expect((await imageNames(pair.backup, 'rbd2')).filter((name) => name.startsWith('big.'))).toEqual([]);
    await pair.source.rbd(['rm', 'rbd/big']);
  });

  it.each<[string, string, Message, string, string]>([
    ['a name that is none', 'startBackup', { image: 'rbd/vm1@x' }, 'INVALID_IMAGE_SPEC', 'INVALID_ARGUMENT'],
    ['an empty request', 'startBackup', {}, 'INVALID_IMAGE_SPEC', 'INVALID_ARGUMENT'],
    ['a mode of the future', 'startBackup', { image: 'rbd/vm1', mode: 9 }, 'INVALID_REQUEST', 'INVALID_ARGUMENT'],
    [
      'a receiver it does not know',
      'startBackup',
      { image: 'rbd/vm1', receiver: 'x' },
      'RECEIVER_NOT_FOUND',
      'NOT_FOUND',
    ],
    [
      'a limit that is a slip of the pen',
      'startBackup',
      { image: 'rbd/vm1', limitBytesPerSecond: '7' },
      'INVALID_REQUEST',
      'INVALID_ARGUMENT',
    ],
    [
      'a limit that is absurd',
      'startRestore',
      { backupId: ghost, limitBytesPerSecond: '18446744073709551615' },
      'INVALID_REQUEST',
      'INVALID_ARGUMENT',
    ],
    ['an id that is none', 'startRestore', { backupId: 'x' }, 'INVALID_BACKUP_ID', 'INVALID_ARGUMENT'],
    ['a target that is none', 'startRestore', { backupId: ghost, to: 'x' }, 'INVALID_IMAGE_SPEC', 'INVALID_ARGUMENT'],
    ['a job that is not there', 'getJob', { jobId: 'x' }, 'JOB_NOT_FOUND', 'NOT_FOUND'],
    ['a job that is not there', 'cancelJob', { jobId: '' }, 'JOB_NOT_FOUND', 'NOT_FOUND'],
    ['an image that is none', 'listJobs', { image: '-x' }, 'INVALID_IMAGE_SPEC', 'INVALID_ARGUMENT'],
  ])('refuses %s (%s)', async (_, method, request, code, grpcStatus) => {
    const error = await failureOf(agent.unary(method, request));
    expect([error.detail.code, error.status]).toEqual([code, grpcStatus]);
    expect(error.detail.hint).not.toBe('');
  });

  it.each<[string, Message, string]>([
    ['watchJob', { jobId: 'x' }, 'JOB_NOT_FOUND'],
    ['listBackups', { image: 'x' }, 'INVALID_IMAGE_SPEC'],
    ['listBackups', { receiver: 'x' }, 'RECEIVER_NOT_FOUND'],
    ['listBackups', { store: 'x' }, 'STORE_NOT_FOUND'],
  ])('refuses %s %j', async (method, request, code) => {
    expect((await failureOf(agent.all(method, request))).detail.code).toBe(code);
  });

  it('tells what a job failed with', async () => {
    const job = await ended(await start('startBackup', { image: 'rbd/none' }));
    expect(job).toMatchObject({ state: 'failed', failed: { error: { code: 'IMAGE_NOT_FOUND' } } });
    expect(job.failed?.error.hint).not.toBe('');
  });
});

type Callback = (error: unknown, answer?: Message) => void;

/** What a receiver of somebody else says, or throws as a Refusal; a test changes what it needs. */
interface Behaviour {
  handshake: (request: { protocolMin: number; protocolMax: number }) => Message;
  backup: () => Message | null;
  pull: () => Message[];
  openPush: (request: Message) => Message;
  /** Whether it answers a push now that it has received these messages. */
  answersPush: (received: readonly Message[]) => boolean;
  push: () => Message;
}

const size = 2 * MiB;
const content = randomBytes('ghost', size);
const stream = Buffer.concat([diff.banner, diff.toSnap(snap), diff.size(size), diff.data(0, content), diff.end]);

const ghostBackup = (change: Message = {}, source: Message = {}, layout: Message = {}): Message => ({
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

const pullOf = (
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

const honest = (): Behaviour => ({
  handshake: () => ({ protocol: 2, software: 'fake/1', stores: ['rbd2'], client: 'agent1' }),
  backup: () => ghostBackup(),
  pull: () => pullOf(stream),
  openPush: (request) => ({ transferId: 't', backupId: idOf(request) }),
  answersPush: (received) => received.at(-1)?.['commit'] !== undefined,
  push: () => ({ backup: ghostBackup() }),
});

/** A status as any gRPC server might send it. */
class Refusal extends Error {
  constructor(
    readonly code: number,
    readonly details: string,
    readonly metadata = new Metadata(),
  ) {
    super(details);
  }
}

/** A status with an ErrorDetail, put together by hand. */
const ferryRefusal = (code: string, grpcCode: number): Refusal => {
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

describe('receivers that are not ours', () => {
  let behaviour = honest();
  let fake: Awaited<ReturnType<typeof serve>>;
  let daemon: Daemon;
  let other: Caller;
  let socket: string;

  const handlers = {
    handshake: (call: { request: { protocolMin: number; protocolMax: number } }, done: Callback) => {
      reply(done, () => behaviour.handshake(call.request));
    },
    listChains: (call: { end(): void }) => {
      call.end();
    },
    getBackup: (_: unknown, done: Callback) => {
      reply(done, () => {
        const backup = behaviour.backup();
        if (backup === null) throw ferryRefusal('BACKUP_NOT_FOUND', status.NOT_FOUND);
        return { backup };
      });
    },
    openPush: (call: { request: Message }, done: Callback) => {
      reply(done, () => behaviour.openPush(call.request));
    },
    push: (call: NodeJS.ReadableStream, done: Callback) => {
      const received: Message[] = [];
      let answered = false;
      call.on('data', (message: Message) => {
        received.push(message);
        if (answered || !behaviour.answersPush(received)) return;
        answered = true;
        reply(done, () => behaviour.push());
      });
    },
    pull: (call: { write(message: Message): void; end(): void }) => {
      for (const message of behaviour.pull()) call.write(message);
      call.end();
    },
  };

  beforeAll(async () => {
    fake = await serve('TransferService', handlers as unknown as UntypedServiceImplementation, {
      dir: pair.pki,
      name: 'receiver',
    });
    const config = join(pair.dir, 'other.yaml');
    socket = join(pair.dir, 'other.sock');
    const text = (await readFile(pair.agentConfig, 'utf8'))
      .replace(/^socket:.*$/m, `socket: ${socket}`)
      .replace(/^state:.*$/m, `state: ${join(pair.dir, 'other-state')}`)
      .replace(/localhost:\d+/, `localhost:${fake.port}`);
    // The receiver is the last thing in the file.
    await writeFile(config, `${text}    compression: on\n`);
    daemon = await startDaemon('rbdferry-agent', config);
    other = callerAt(socket);
  });

  afterEach(async () => {
    behaviour = honest();
    // Whatever it was, nothing of it is left on the source.
    expect(await imageNames(pair.source, 'rbd')).toEqual(['vm1']);
    expect(await snapNames(pair.source, 'rbd/vm1')).toHaveLength(1);
  });

  afterAll(async () => {
    other?.close();
    await daemon?.stop();
    fake?.stop();
  });

  const backUp = async () => ended(await start('startBackup', { image: 'rbd/vm1' }, other), other);
  const restore = async () => ended(await start('startRestore', { backupId: ghost, to: 'rbd/ghost' }, other), other);

  const cliBackup = () => runCli(['--socket', socket, 'backup', 'rbd/vm1']);

  const expectFailed = (job: Job, code: string, words?: RegExp): void => {
    expect([job.state, job.failed?.error.code], job.failed?.error.message).toEqual(['failed', code]);
    expect(job.failed?.error.hint).not.toBe('');
    if (words !== undefined) expect(job.failed?.error.message).toMatch(words);
  };

  describe('of another version', () => {
    it.each<[string, Behaviour['handshake']]>([
      ['that speaks protocol 99', () => ({ protocol: 99, software: 'future/9' })],
      ['that speaks protocol 0', () => ({ protocol: 0 })],
      [
        'that lacks the method',
        () => {
          throw new Refusal(status.UNIMPLEMENTED, 'The server does not implement the method');
        },
      ],
      [
        'that refuses our versions',
        () => {
          throw ferryRefusal('PROTOCOL_MISMATCH', status.FAILED_PRECONDITION);
        },
      ],
    ])('%s is refused, and the command line exits with 44', async (_, handshake) => {
      behaviour.handshake = handshake;
      expectFailed(await backUp(), 'PROTOCOL_MISMATCH');
      expectFailed(await restore(), 'PROTOCOL_MISMATCH');
      expectError(await cliBackup(), 'PROTOCOL_MISMATCH', 44, '');
      const listed = await runCli(['--socket', socket, 'list']);
      expect(listed.exitCode).toBe(44);
    });
  });

  describe('in a restore', () => {
    const expectGhost = async () => {
      expect(await sha256OfExport(pair.source, 'rbd/ghost')).toBe(diff.sha256(content).toString('hex'));
      await pair.source.rbd(['snap', 'purge', 'rbd/ghost']);
      await pair.source.rbd(['rm', 'rbd/ghost']);
    };

    it('is believed when everything fits; that it cannot compress is a warning', async () => {
      const job = await restore();
      expect(job).toMatchObject({ state: 'committed' });
      expect(job.committed?.warnings).toEqual([
        expect.stringMatching(/^compression is configured, but receiver "dr" at localhost:\d+ \("fake\/1"\) cannot; /),
      ]);
      await expectGhost();
    });

    const withZstd: Behaviour['handshake'] = () => ({
      ...honest().handshake({ protocolMin: 2, protocolMax: 2 }),
      capabilities: ['zstd', 'x'],
    });
    /** The stream with one part compressed. */
    const pullWith = (part: (content: Buffer) => Message): Message[] => {
      const [first, second, third, ...rest] = pullOf(stream);
      const data = (second?.['data'] ?? Buffer.alloc(0)) as Buffer;
      return [first ?? {}, { zstd: part(data) }, third ?? {}, ...rest];
    };

    it('is believed when parts of it are compressed', async () => {
      behaviour.handshake = withZstd;
      behaviour.pull = () => pullWith((data) => ({ frame: zstd.stored(data), contentBytes: data.length }));
      const job = await restore();
      expect(job.committed?.warnings).toEqual([]);
      await expectGhost();
    });

    it('is not believed when it compresses what it said it could not', async () => {
      behaviour.pull = () => pullWith((data) => ({ frame: zstd.stored(data), contentBytes: data.length }));
      expectFailed(await restore(), 'INVALID_REQUEST', /compressed/);
    });

    it.each<[string, (data: Buffer) => Message]>([
      ['is no frame', (data) => ({ frame: data, contentBytes: data.length })],
      ['is a bomb', () => ({ frame: zstd.zeroes(512 * MiB), contentBytes: MiB })],
      ['is longer than it says', (data) => ({ frame: zstd.stored(data), contentBytes: data.length - 1 })],
    ])('is not believed when a compressed part %s', async (_, part) => {
      behaviour.handshake = withZstd;
      behaviour.pull = () => pullWith(part);
      expectFailed(await restore(), 'STREAM_INVALID', /compressed part/);
    });

    const records = (...parts: Buffer[]): Message[] =>
      pullOf(Buffer.concat([diff.banner, diff.toSnap(snap), diff.size(size), ...parts, diff.end]));

    it.each<[string, () => Message[], string]>([
      ['its stream has no trailer', () => pullOf(stream, null), 'STREAM_TRUNCATED'],
      ['its stream breaks off without a trailer', () => pullOf(stream.subarray(0, MiB), null), 'STREAM_TRUNCATED'],
      ['its stream breaks off, honestly counted', () => pullOf(stream.subarray(0, MiB)), 'STREAM_TRUNCATED'],
      ['its stream lacks the end record', () => pullOf(stream.subarray(0, -1)), 'STREAM_TRUNCATED'],
      ['it sends nothing', () => [], 'STREAM_TRUNCATED'],
      ['it sends a header only', () => [{ header: ghostBackup() }], 'STREAM_TRUNCATED'],
      [
        'its count is wrong',
        () => pullOf(stream, { streamBytes: '7', streamGmac: diff.gmac(stream) }),
        'DIGEST_MISMATCH',
      ],
      [
        'its digest is wrong',
        () => pullOf(stream, { streamBytes: String(stream.length), streamGmac: diff.gmac(content) }),
        'DIGEST_MISMATCH',
      ],
      ['an unknown tag is in its stream', () => records(Buffer.from('x')), 'STREAM_INVALID'],
      ['an extent ends past the size', () => records(diff.data(1, content)), 'STREAM_INVALID'],
      ['a length is absurd', () => records(diff.dataHeader(0, 2n ** 60n), content), 'STREAM_INVALID'],
      ['bytes follow the end', () => pullOf(Buffer.concat([stream, stream])), 'STREAM_INVALID'],
      [
        'it makes another snapshot',
        () => pullOf(Buffer.concat([diff.banner, diff.toSnap('other'), diff.size(size), diff.end])),
        'STREAM_INVALID',
      ],
      [
        'it is an increment',
        () => pullOf(Buffer.concat([diff.banner, diff.fromSnap('a'), diff.toSnap(snap), diff.size(size), diff.end])),
        'STREAM_INVALID',
      ],
      [
        'its size is another one',
        () => pullOf(Buffer.concat([diff.banner, diff.toSnap(snap), diff.size(size * 2), diff.end])),
        'STREAM_INVALID',
      ],
    ])('is not believed when %s', async (_, pull, code) => {
      behaviour.pull = pull;
      expectFailed(await restore(), code);
    });

    it.each<[string, () => Message | null, string]>([
      ['has no such backup', () => null, 'BACKUP_NOT_FOUND'],
      ['tells of a backup without an id', () => ghostBackup({ id: '' }), 'INVALID_BACKUP_ID'],
      ['tells of objects of nothing', () => ghostBackup({}, {}, { objectSizeBytes: 0 }), 'INVALID_REQUEST'],
      ['tells of endless stripes', () => ghostBackup({}, {}, { stripeCount: 4_294_967_295 }), 'INVALID_REQUEST'],
      [
        'tells of an endless image',
        () => ghostBackup({}, {}, { sizeBytes: '18446744073709551615' }),
        'INVALID_REQUEST',
      ],
      ['tells of features that are options', () => ghostBackup({}, {}, { features: ['--conf=/x'] }), 'INVALID_REQUEST'],
      [
        'tells of a data pool that is an option',
        () => ghostBackup({}, {}, { dataPool: '--conf=/x' }),
        'INVALID_REQUEST',
      ],
      ['tells of a data pool that is not there', () => ghostBackup({}, {}, { dataPool: 'nowhere' }), 'CANNOT_RECREATE'],
    ])('is not believed when it %s', async (_, backup, code) => {
      behaviour.backup = backup;
      expectFailed(await restore(), code);
    });
  });

  describe('in a backup', () => {
    beforeAll(() => applyWrites(pair.source, 'rbd/vm1', [{ offset: 0, data: randomBytes('more', MiB) }]));

    it('may refuse to open with any error; the snapshot is removed', async () => {
      behaviour.backup = () => null;
      behaviour.openPush = () => {
        throw ferryRefusal('CEPH_NO_SPACE', status.RESOURCE_EXHAUSTED);
      };
      expectFailed(await backUp(), 'CEPH_NO_SPACE', /CEPH_NO_SPACE of the fake/);
      behaviour.openPush = () => {
        throw ferryRefusal('QUOTA_OF_THE_FUTURE', status.RESOURCE_EXHAUSTED);
      };
      expectFailed(await backUp(), 'INTERNAL', /QUOTA_OF_THE_FUTURE/);
      expectError(await cliBackup(), 'INTERNAL', 1, 'QUOTA_OF_THE_FUTURE');
      behaviour.openPush = () => {
        throw new Refusal(status.PERMISSION_DENIED, 'by a gateway');
      };
      expectFailed(await backUp(), 'ACCESS_DENIED', /by a gateway/);
    });

    it('may answer in the middle of the stream with an error; the snapshot is removed', async () => {
      behaviour.backup = () => null;
      behaviour.answersPush = (received) => received.length === 2;
      behaviour.push = () => {
        throw ferryRefusal('CEPH_NO_SPACE', status.RESOURCE_EXHAUSTED);
      };
      expectFailed(await backUp(), 'CEPH_NO_SPACE', /CEPH_NO_SPACE of the fake/);
    });

    it('is not believed when it answers before the commit', async () => {
      behaviour.backup = () => null;
      behaviour.answersPush = (received) => received.length === 2;
      expect((await backUp()).state).toBe('failed');
    });

    it('is not believed when what it committed is something else', async () => {
      // It tells the same lie when it is asked again.
      behaviour.backup = () => ghostBackup();
      expectFailed(await backUp(), 'DIGEST_MISMATCH');
      expectError(await cliBackup(), 'DIGEST_MISMATCH', 52, 'something else than was sent');
    });
  });
});
