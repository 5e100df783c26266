import { readFile } from 'node:fs/promises';
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { applyWrites, randomBytes, sha256OfExport } from '../ceph/cluster.js';
import { runCli } from '../harness/daemon.js';
import { imageNames, snapNames } from '../harness/look.js';
import { startPair, type Pair } from '../harness/pair.js';
import * as diff from './diff-v1.js';
import * as zstd from './zstd.js';
import { Caller, CallError, tlsOf, type Message } from './wire.js';

/** The receiver, driven by somebody else's program: good streams, and every kind of bad one. */

const MiB = 1024 * 1024;
const pool = 'rbd2';
const imageBytes = 8 * MiB;

let pair: Pair;
let agent1: Caller;
let agent2: Caller;
let stranger: Caller;

const connect = async (name: string): Promise<Caller> =>
  new Caller('TransferService', `localhost:${pair.receiver.port}`, await tlsOf(pair.pki, name));

beforeAll(async () => {
  // The file ends with the clients, so this is one more of them.
  pair = await startPair({
    name: 'blackbox',
    stores: [pool, 'other'],
    receiverExtra: '  agent2: { stores: [rbd2] }\n',
  });
  for (const name of ['agent2', 'stranger']) await runCli(['pki', 'issue', name, '--dir', pair.pki]);
  agent1 = await connect('agent1');
  agent2 = await connect('agent2');
  stranger = await connect('stranger');
});

afterAll(async () => {
  for (const caller of [agent1, agent2, stranger]) caller?.close();
  await pair?.stop();
});

let clock = Date.UTC(2026, 0, 1);
/** A time that no other backup has, as in the names of snapshots. */
const nextTime = (): string => {
  clock += 1000;
  return `${new Date(clock).toISOString().slice(0, 23).replace('T', '.')}000`;
};

const identity = (image: string) => ({
  fsid: '6f3e0a52-7b2c-4c39-9d2b-1c0b8f9f0a11',
  image: { pool: 'rbd', namespace: '', image },
  imageId: '10ab22',
});

const facts = (image = 'vm1', change: Message = {}): Message => ({
  identity: identity(image),
  snapId: '4',
  layout: {
    sizeBytes: String(imageBytes),
    objectSizeBytes: 4 * MiB,
    stripeUnitBytes: String(4 * MiB),
    stripeCount: 1,
    features: ['layering', 'exclusive-lock'],
    dataPool: '',
  },
  metadata: { owner: 'ö "quoted"' },
  ...change,
});

interface Opened {
  readonly transferId: string;
  readonly backupId: string;
}

const openPush = (snap: string, baseId = '', caller = agent1, source = facts(), store = pool): Promise<Opened> =>
  caller.unary<Opened>('openPush', { store, source, snap, baseId });

const header = (transferId: string): Message => ({ header: { transferId } });
const commitOf = (stream: Buffer): Message => ({
  commit: { streamBytes: String(stream.length), streamGmac: diff.gmac(stream) },
});

/** The stream in messages of this many bytes. */
const cut = (stream: Buffer, bytes = MiB): Message[] =>
  Array.from({ length: Math.ceil(stream.length / bytes) }, (_, index) => ({
    data: stream.subarray(index * bytes, (index + 1) * bytes),
  }));

const streamOf = (snaps: { from: string | null; to: string }, ...records: Buffer[]): Buffer =>
  Buffer.concat([
    diff.banner,
    ...(snaps.from === null ? [] : [diff.fromSnap(snaps.from)]),
    diff.toSnap(snaps.to),
    diff.size(imageBytes),
    ...records,
    diff.end,
  ]);

interface Backup {
  readonly id: string;
  readonly kind: string;
  readonly sizeBytes: string;
  readonly streamBytes: string;
  readonly dataBytes: string;
  readonly streamGmac: Buffer;
  readonly baseId: string;
  readonly client: string;
  readonly source: { readonly snapId: string; readonly metadata: Record<string, string> } | null;
}

const push = async (
  stream: Buffer,
  { transferId }: Opened,
  options: { caller?: Caller; messageBytes?: number } = {},
): Promise<Backup> => {
  const messages = [header(transferId), ...cut(stream, options.messageBytes), commitOf(stream)];
  return (await (options.caller ?? agent1).upload<{ backup: Backup }>('push', messages)).backup;
};

const chainOf = (id: string): string => id.slice(id.indexOf('/') + 1, id.indexOf('@'));
const snapOf = (id: string): string => id.slice(id.indexOf('@') + 1);
const hash = (content: Buffer): string => diff.sha256(content).toString('hex');

const failureOf = async (step: Promise<unknown>): Promise<CallError> => {
  const thrown = await step.then(
    () => new Error('expected a failure'),
    (thrown: unknown) => thrown,
  );
  if (thrown instanceof CallError) return thrown;
  throw thrown;
};

const expectFailure = async (step: Promise<unknown>, code: string, status: string): Promise<CallError> => {
  const error = await failureOf(step);
  expect([error.detail.code, error.status], error.message).toEqual([code, status]);
  expect(error.detail.message.length).toBeGreaterThan(5);
  expect(error.detail.hint.length).toBeGreaterThan(5);
  return error;
};

/** Opened at the beginning and never sent; the last test looks what became of them. */
const forgotten: { openedAt: number; full: string; base: Backup | undefined } = {
  openedAt: 0,
  full: '',
  base: undefined,
};

/** Images and snapshots of the store, as Ceph itself says, without the forgotten one that goes some time. */
const storeList = async (): Promise<string[]> => {
  const { stdout } = await pair.backup.rbd(['ls', '-l', '--format', 'json', pool]);
  return (JSON.parse(stdout) as { image: string; snapshot?: string }[])
    .filter(({ image }) => image !== forgotten.full)
    .map(({ image, snapshot }) => (snapshot === undefined ? image : `${image}@${snapshot}`))
    .toSorted();
};

/** What one chain holds: content of each backup, and which backups its image-meta speaks of. */
const chainContent = async (image: string): Promise<Record<string, unknown>> => {
  const content: Record<string, unknown> = {};
  for (const snap of await snapNames(pair.backup, `${pool}/${image}`))
    content[snap] = await sha256OfExport(pair.backup, `${pool}/${image}@${snap}`);
  const { stdout } = await pair.backup.rbd(['image-meta', 'list', '--format', 'json', `${pool}/${image}`]);
  const keys = Object.keys(JSON.parse(stdout || '{}') as object);
  return { ...content, meta: keys.filter((key) => key.startsWith('rbdferry.backup.')).toSorted() };
};

const tail = randomBytes('tail', 100_000);
const fullContent = (): Buffer => {
  const content = Buffer.alloc(imageBytes);
  randomBytes('full', 3 * MiB).copy(content, 1000);
  tail.copy(content, imageBytes - tail.length);
  return content;
};
const fullRecords = (): Buffer[] => [
  diff.data(1000, randomBytes('full', 3 * MiB)),
  diff.data(imageBytes - tail.length, tail),
];

/** A chain of one full backup, made by a good push. */
const pushFull = async (image = 'vm1', caller = agent1): Promise<{ backup: Backup; stream: Buffer }> => {
  const snap = `${nextTime()}.snap`;
  const opened = await openPush(snap, '', caller, facts(image));
  const stream = streamOf({ from: null, to: snap }, ...fullRecords());
  return { backup: await push(stream, opened, { caller }), stream };
};

const pull = async (id: string, caller = agent1): Promise<{ stream: Buffer; header: Backup }> => {
  const parts = await caller.all<{
    part: string;
    header?: Backup;
    data?: Buffer;
    trailer?: { streamBytes: string; streamGmac: Buffer };
  }>('pull', { backupId: id });
  expect(parts[0]?.part).toBe('header');
  expect(parts.at(-1)?.part).toBe('trailer');
  const stream = Buffer.concat(
    parts.flatMap(({ data, part }) => (part === 'data' && data !== undefined ? [data] : [])),
  );
  const trailer = parts.at(-1)?.trailer;
  expect(trailer?.streamBytes).toBe(String(stream.length));
  expect(trailer?.streamGmac.equals(diff.gmac(stream))).toBe(true);
  const header = parts[0]?.header;
  if (header === undefined) throw new Error('no header');
  return { stream, header };
};

describe('a push that is opened and never sent', () => {
  it('is there for the moment', async () => {
    forgotten.base = (await pushFull('forgotten-base')).backup;
    const full = await openPush(`${nextTime()}.snap`, '', agent1, facts('forgotten-full'));
    const incr = await openPush(`${nextTime()}.snap`, forgotten.base.id, agent1, facts('forgotten-base'));
    forgotten.openedAt = performance.now();
    forgotten.full = chainOf(full.backupId);
    expect(await imageNames(pair.backup, pool)).toContain(forgotten.full);
    expect(chainOf(incr.backupId)).toBe(chainOf(forgotten.base.id));
  });
});

describe('a push whose client goes away while it is opened', () => {
  it.each([0, 100, 250])('leaves nothing, and is answered for only when that is so (after %i ms)', async (ms) => {
    const time = nextTime();
    const chain = `abandoned.${time}.bkp.image`;
    const request = { store: pool, source: facts('abandoned'), snap: `${time}.snap`, baseId: '' };
    const abandoned = agent1.abandon('openPush', request, ms);
    await sleep(ms + 10);
    const asked = agent1.unary('getBackup', { backupId: `${pool}/${chain}@${time}.snap` });
    await expectFailure(asked, 'BACKUP_NOT_FOUND', 'NOT_FOUND');
    expect((await imageNames(pair.backup, pool)).filter((name) => name.startsWith(chain))).toEqual([]);
    await abandoned;
  });
});

describe('the handshake', () => {
  const shake = (caller: Caller, protocolMin: number, protocolMax: number) =>
    caller.unary('handshake', { protocolMin, protocolMax, software: 'black-box/1', capabilities: ['x-unknown'] });

  it('tells version, client and stores', async () => {
    expect(await shake(agent1, 2, 2)).toMatchObject({
      protocol: 2,
      client: 'agent1',
      stores: [pool, 'other'],
      capabilities: ['zstd'],
    });
    expect(await shake(agent2, 1, 7)).toMatchObject({ protocol: 2, client: 'agent2', stores: [pool] });
  });

  it.each([
    [1, 1],
    [3, 5],
    [99, 99],
    [0, 0],
    [3, 2],
  ])('with versions %i to %i is refused', async (min, max) => {
    await expectFailure(shake(agent1, min, max), 'PROTOCOL_MISMATCH', 'FAILED_PRECONDITION');
  });

  it('of a certificate that the receiver does not know is refused', async () => {
    const error = await expectFailure(shake(stranger, 2, 2), 'ACCESS_DENIED', 'PERMISSION_DENIED');
    expect(error.detail.message).toContain('stranger');
  });
});

describe('a good push', () => {
  let full: Backup;
  let increment: Backup;

  it('of a full makes a backup, which Ceph itself reads', async () => {
    const { backup, stream } = await pushFull();
    full = backup;
    expect(full.id).toMatch(/^rbd2\/vm1\.2026-[^@]+\.bkp\.image@2026-[^@]+\.snap$/);
    expect(full).toMatchObject({
      kind: 'BACKUP_KIND_FULL',
      sizeBytes: String(imageBytes),
      streamBytes: String(stream.length),
      dataBytes: String(3 * MiB + tail.length),
      baseId: '',
      client: 'agent1',
    });
    expect(full.streamGmac.equals(diff.gmac(stream))).toBe(true);
    expect(full.source?.metadata).toEqual({ owner: 'ö "quoted"' });
    expect(await sha256OfExport(pair.backup, full.id)).toBe(hash(fullContent()));
  });

  it('of an increment makes another', async () => {
    const snap = `${nextTime()}.snap`;
    const opened = await openPush(snap, full.id);
    const stream = streamOf({ from: snapOf(full.id), to: snap }, diff.zero(0, 2 * MiB), diff.data(5 * MiB, tail));
    increment = await push(stream, opened);
    expect(increment).toMatchObject({ kind: 'BACKUP_KIND_INCREMENTAL', baseId: full.id, id: opened.backupId });
    const content = fullContent().fill(0, 0, 2 * MiB);
    tail.copy(content, 5 * MiB);
    expect(await sha256OfExport(pair.backup, increment.id)).toBe(hash(content));
    expect(await sha256OfExport(pair.backup, full.id)).toBe(hash(fullContent()));
  });

  it('is told again by getBackup and listChains', async () => {
    for (const each of [full, increment]) {
      const { backup } = await agent1.unary<{ backup: Backup }>('getBackup', { backupId: each.id });
      expect(backup).toEqual(each);
    }
    const chains = await agent1.all<{ chain: { name: string; backups: Backup[]; active: boolean; partial: boolean } }>(
      'listChains',
      { store: pool, image: 'vm1' },
    );
    expect(chains.map(({ chain }) => chain)).toEqual([
      expect.objectContaining({ name: chainOf(full.id), active: true, partial: false, backups: [full, increment] }),
    ]);
  });

  it('comes back bit for bit, as a full stream of each point', async () => {
    const first = await pull(full.id);
    expect(hash(diff.apply(first.stream, Buffer.alloc(0)))).toBe(hash(fullContent()));
    expect(first.header).toEqual(full);
    const second = await pull(increment.id);
    expect(hash(diff.apply(second.stream, Buffer.alloc(0)))).toBe(await sha256OfExport(pair.backup, increment.id));
  });

  it('comes back in slices as small as asked for, and no slower for a limit above its size', async () => {
    const sizes: number[] = [];
    const parts: Buffer[] = [];
    const request = { backupId: full.id, limitBytesPerSecond: String(100 * MiB), maxDataBytes: 10_000 };
    for await (const part of agent1.stream<{ data?: Buffer; part: string }>('pull', request)) {
      if (part.part !== 'data' || part.data === undefined) continue;
      sizes.push(part.data.length);
      parts.push(part.data);
    }
    expect(Math.max(...sizes)).toBe(10_000);
    expect(hash(Buffer.concat(parts))).toBe(hash((await pull(full.id)).stream));
  });

  it('may come in messages cut anywhere, with empty ones between', async () => {
    const snap = `${nextTime()}.snap`;
    const opened = await openPush(snap, increment.id);
    const stream = streamOf({ from: snapOf(increment.id), to: snap }, diff.data(77, randomBytes('bytewise', 500)));
    const messages = [...stream].flatMap((byte): Message[] => [{ data: Buffer.of(byte) }, { data: Buffer.alloc(0) }]);
    const answer = await agent1.upload<{ backup: Backup }>('push', [
      header(opened.transferId),
      ...messages,
      commitOf(stream),
    ]);
    expect(answer.backup.dataBytes).toBe('500');
    expect(hash(diff.apply((await pull(answer.backup.id)).stream, Buffer.alloc(0)))).toBe(
      await sha256OfExport(pair.backup, answer.backup.id),
    );
  });

  it('may be compressed in parts, between others that are not', async () => {
    const snap = `${nextTime()}.snap`;
    const opened = await openPush(snap, increment.id);
    const content = Buffer.concat([randomBytes('compressed', 700_000), Buffer.alloc(2 * MiB), tail]);
    const stream = streamOf({ from: snapOf(increment.id), to: snap }, diff.data(4096, content));
    const zeroesAt = stream.indexOf(Buffer.alloc(100_000));
    const cuts = [0, 10, 300_000, 310_000, zeroesAt, zeroesAt + 2 * MiB, stream.length - 1, stream.length];
    const parts = cuts.slice(1).map((to, index) => stream.subarray(cuts[index], to));
    const messages = parts.map((part, index): Message => {
      if (index === 4) return { zstd: { frame: zstd.zeroes(part.length), contentBytes: part.length } };
      return index % 2 === 0 ? compressed(part) : { data: part };
    });
    const answer = await agent1.upload<{ backup: Backup }>('push', [
      header(opened.transferId),
      compressed(Buffer.alloc(0)),
      ...messages,
      commitOf(stream),
    ]);
    // Count and digest are those of what came out.
    expect(answer.backup).toMatchObject({ streamBytes: String(stream.length), dataBytes: String(content.length) });
    const image = diff.apply((await pull(answer.backup.id)).stream, Buffer.alloc(0));
    expect(hash(image)).toBe(await sha256OfExport(pair.backup, answer.backup.id));
    expect(image.subarray(4096, 4096 + content.length).equals(content)).toBe(true);
  });

  it.each(['COMPRESSION_ON', 'COMPRESSION_AUTO'])(
    'comes back compressed where that was asked for (%s)',
    async (wish) => {
      const { stream } = await pull(full.id);
      const parts = await agent1.all<{ part: string; data?: Buffer; zstd?: { frame: Buffer; contentBytes: number } }>(
        'pull',
        { backupId: full.id, compression: wish },
      );
      const plain = parts.reduce((sum, { data }) => sum + (data?.length ?? 0), 0);
      const content = parts.reduce((sum, each) => sum + (each.zstd?.contentBytes ?? 0), 0);
      expect(plain + content).toBe(stream.length);
      for (const { zstd: part } of parts) {
        if (part == null) continue;
        expect(part.frame.subarray(0, 4).toString('hex')).toBe('28b52ffd');
        expect(part.frame.length).toBeLessThan(part.contentBytes);
      }
      // What is random in it goes as it is.
      expect(plain).toBeGreaterThan(2 * MiB);
    },
  );

  it('of a client that is left in the middle of a pull disturbs nobody', async () => {
    for await (const _ of agent1.stream('pull', { backupId: full.id })) break;
    expect((await pull(full.id)).stream.length).toBeGreaterThan(3 * MiB);
  });
});

/** What somebody might send. `snaps` are the right names; the transfer is open. */
interface BadStream {
  readonly name: string;
  readonly code: string;
  readonly status: string;
  readonly messages: (snaps: { from: string | null; to: string }, opened: Opened) => Message[];
  readonly ending?: 'cancel';
}

const dataLoss = 'DATA_LOSS';
const whole = (stream: Buffer, { transferId }: Opened): Message[] => [
  header(transferId),
  ...cut(stream),
  commitOf(stream),
];
const some = randomBytes('some', 300_000);

/** A stream with one thing wrong in its records, honestly counted and digested. */
const malformed = (
  name: string,
  records: (snaps: { from: string | null; to: string }) => Buffer[],
  code = 'STREAM_INVALID',
): BadStream => ({
  name,
  code,
  status: dataLoss,
  messages: (snaps, opened) => whole(Buffer.concat([diff.banner, ...records(snaps)]), opened),
});

const head = ({ from, to }: { from: string | null; to: string }): Buffer[] => [
  ...(from === null ? [] : [diff.fromSnap(from)]),
  diff.toSnap(to),
  diff.size(imageBytes),
];

const compressed = (content: Buffer, change: Message = {}): Message => ({
  zstd: { frame: zstd.stored(content), contentBytes: content.length, ...change },
});

/** A good stream but for one compressed part. */
const badPart = (name: string, part: (content: Buffer) => Message, code = 'STREAM_INVALID'): BadStream => ({
  name: `has a compressed part that ${name}`,
  code,
  status: dataLoss,
  messages: (snaps, { transferId }) => {
    const stream = streamOf(snaps, diff.data(0, some));
    const [before, content, after] = [
      stream.subarray(0, 5000),
      stream.subarray(5000, 200_000),
      stream.subarray(200_000),
    ];
    return [header(transferId), { data: before }, part(content), { data: after }, commitOf(stream)];
  },
});

const badStreams: BadStream[] = [
  badPart('is no frame', (content) => compressed(content, { frame: content })),
  badPart('is empty', () => ({ zstd: { frame: Buffer.alloc(0), contentBytes: 0 } })),
  badPart('is cut', (content) => compressed(content, { frame: zstd.stored(content).subarray(0, -1) })),
  badPart('has something behind it', (content) =>
    compressed(content, { frame: Buffer.concat([zstd.stored(content), Buffer.of(0)]) }),
  ),
  badPart('is two frames', (content) =>
    compressed(content, { frame: Buffer.concat([zstd.stored(content), zstd.stored(content)]) }),
  ),
  badPart('announces a byte less', (content) => compressed(content, { contentBytes: content.length - 1 })),
  badPart('announces a byte more', (content) => compressed(content, { contentBytes: content.length + 1 })),
  badPart('announces four gigabytes', (content) => compressed(content, { contentBytes: 4_294_967_295 })),
  badPart('is five megabytes', () => compressed(Buffer.alloc(5 * MiB))),
  badPart('is a bomb', () => ({ zstd: { frame: zstd.zeroes(512 * MiB), contentBytes: MiB } })),
  badPart('is a bomb, and says so', () => ({ zstd: { frame: zstd.zeroes(512 * MiB), contentBytes: 512 * MiB } })),
  badPart(
    'was changed by one bit',
    (content) => {
      const changed = Buffer.from(content);
      changed.writeUInt8(changed.readUInt8(99_999) ^ 1, 99_999);
      return compressed(changed);
    },
    'DIGEST_MISMATCH',
  ),
  {
    name: 'is malformed inside of a compressed part',
    code: 'STREAM_INVALID',
    status: dataLoss,
    messages: (snaps, { transferId }) => {
      const stream = Buffer.concat([diff.banner, ...head(snaps), Buffer.from('x'), diff.end]);
      return [header(transferId), compressed(stream), commitOf(stream)];
    },
  },
  {
    name: 'ends in the middle of its data, without a commit',
    code: 'STREAM_TRUNCATED',
    status: dataLoss,
    messages: (snaps, { transferId }) => [
      header(transferId),
      ...cut(streamOf(snaps, diff.data(0, some)).subarray(0, 200_000)),
    ],
  },
  {
    name: 'is whole, and ends without a commit',
    code: 'STREAM_TRUNCATED',
    status: dataLoss,
    messages: (snaps, { transferId }) => [header(transferId), ...cut(streamOf(snaps, diff.data(0, some)))],
  },
  {
    name: 'is cancelled in the middle',
    code: '',
    status: 'CANCELLED',
    messages: (snaps, { transferId }) => [
      header(transferId),
      ...cut(streamOf(snaps, diff.data(0, some)).subarray(0, 200_000)),
    ],
    ending: 'cancel',
  },
  {
    name: 'is cancelled when it is whole, before the commit',
    code: '',
    status: 'CANCELLED',
    messages: (snaps, { transferId }) => [header(transferId), ...cut(streamOf(snaps, diff.data(0, some)))],
    ending: 'cancel',
  },
  {
    name: 'has nothing but a header',
    code: 'STREAM_TRUNCATED',
    status: dataLoss,
    messages: (_, { transferId }) => [header(transferId)],
  },
  {
    name: 'commits nothing',
    code: 'STREAM_TRUNCATED',
    status: dataLoss,
    messages: (_, opened) => whole(Buffer.alloc(0), opened),
  },
  {
    name: 'has a wrong digest',
    code: 'DIGEST_MISMATCH',
    status: dataLoss,
    messages: (snaps, { transferId }) => {
      const stream = streamOf(snaps, diff.data(0, some));
      const commit = { streamBytes: String(stream.length), streamGmac: diff.gmac(Buffer.from('something else')) };
      return [header(transferId), ...cut(stream), { commit }];
    },
  },
  {
    name: 'has a wrong count',
    code: 'DIGEST_MISMATCH',
    status: dataLoss,
    messages: (snaps, { transferId }) => {
      const stream = streamOf(snaps, diff.data(0, some));
      const commit = { streamBytes: String(stream.length + 1), streamGmac: diff.gmac(stream) };
      return [header(transferId), ...cut(stream), { commit }];
    },
  },
  {
    name: 'has no count and no digest',
    code: 'DIGEST_MISMATCH',
    status: dataLoss,
    messages: (snaps, { transferId }) => [
      header(transferId),
      ...cut(streamOf(snaps, diff.data(0, some))),
      { commit: {} },
    ],
  },
  {
    name: 'was changed on the way by one bit of its data',
    code: 'DIGEST_MISMATCH',
    status: dataLoss,
    messages: (snaps, { transferId }) => {
      const stream = streamOf(snaps, diff.data(0, some));
      const changed = Buffer.from(stream);
      changed.writeUInt8(changed.readUInt8(150_000) ^ 1, 150_000);
      return [header(transferId), ...cut(changed), commitOf(stream)];
    },
  },
  {
    name: 'has its header twice',
    code: 'INVALID_REQUEST',
    status: 'INVALID_ARGUMENT',
    messages: (snaps, { transferId }) => {
      const stream = streamOf(snaps, diff.data(0, some));
      return [header(transferId), header(transferId), ...cut(stream), commitOf(stream)];
    },
  },
  {
    name: 'has an empty message in it',
    code: 'INVALID_REQUEST',
    status: 'INVALID_ARGUMENT',
    messages: (snaps, { transferId }) => [header(transferId), ...cut(streamOf(snaps, diff.data(0, some))), {}],
  },
  {
    name: 'has a message above the limit',
    code: '',
    status: 'RESOURCE_EXHAUSTED',
    messages: (snaps, { transferId }) => [
      header(transferId),
      ...cut(streamOf(snaps)),
      { data: Buffer.alloc(20 * MiB) },
    ],
  },
  malformed('lacks its end record', (snaps) => [...head(snaps), diff.data(0, some)], 'STREAM_TRUNCATED'),
  malformed(
    'lacks the end of an extent',
    (snaps) => [...head(snaps), diff.data(0, some).subarray(0, -9)],
    'STREAM_TRUNCATED',
  ),
  malformed('has another banner', () => [Buffer.from('rbd diff v2\n'), diff.end]),
  malformed('has an unknown tag', (snaps) => [...head(snaps), diff.data(0, some), Buffer.from('x'), diff.end]),
  malformed('has an extent past the size', (snaps) => [...head(snaps), diff.data(imageBytes - 10, some), diff.end]),
  malformed('has zeroes past the size', (snaps) => [...head(snaps), diff.zero(0, imageBytes + 1), diff.end]),
  malformed('has an absurd length', (snaps) => [...head(snaps), diff.dataHeader(0, 2n ** 60n), some, diff.end]),
  malformed('has the largest length', (snaps) => [...head(snaps), diff.dataHeader(0, 2n ** 64n - 1n), some, diff.end]),
  malformed('has an absurd offset', (snaps) => [...head(snaps), diff.dataHeader(2n ** 63n, 10), some, diff.end]),
  malformed('has zeroes of an absurd length', (snaps) => [...head(snaps), diff.zero(0, 2n ** 63n), diff.end]),
  malformed('has an absurd size', ({ from, to }) => [
    ...(from === null ? [] : [diff.fromSnap(from)]),
    diff.toSnap(to),
    diff.size(2n ** 62n),
    diff.end,
  ]),
  malformed('has another size', ({ from, to }) => [
    ...(from === null ? [] : [diff.fromSnap(from)]),
    diff.toSnap(to),
    diff.size(imageBytes * 2),
    diff.end,
  ]),
  malformed('has no size', (snaps) => [...head(snaps).slice(0, -1), diff.data(0, some), diff.end]),
  malformed('has a name of four gigabytes', () => [Buffer.from('t\u00ff\u00ff\u00ff\u00ff', 'latin1'), some, diff.end]),
  malformed('makes another snapshot', ({ from }) => [
    ...head({ from, to: '2026-11-11.11:11:11.111111.snap' }),
    diff.end,
  ]),
  malformed('makes no snapshot', ({ from }) => [
    ...(from === null ? [] : [diff.fromSnap(from)]),
    diff.size(imageBytes),
    diff.data(0, some),
    diff.end,
  ]),
  malformed('starts from another snapshot', ({ to }) => [
    ...head({ from: '2026-11-11.11:11:11.111111.snap', to }),
    diff.end,
  ]),
  malformed('has an extent twice', (snaps) => [...head(snaps), diff.data(0, some), diff.data(0, some), diff.end]),
  malformed('has its extents out of order', (snaps) => [
    ...head(snaps),
    diff.data(MiB, some),
    diff.data(0, some),
    diff.end,
  ]),
  malformed('has bytes behind its end', (snaps) => [...head(snaps), diff.data(0, some), diff.end, some]),
  malformed('has a second end', (snaps) => [...head(snaps), diff.data(0, some), diff.end, diff.end]),
];

const vmHwmKiB = async (): Promise<number> => {
  const text = await readFile(`/proc/${pair.receiver.pid}/status`, 'utf8');
  return Number(/VmHWM:\s*(\d+)/.exec(text)?.[1] ?? 0);
};

/** A full differs in what is cleaned up, not in how its stream is read: some of them will do. */
const forFulls = badStreams.filter(({ name }) =>
  /middle|is a bomb$|without a commit|wrong digest|unknown tag|absurd length|past the size|another snapshot|behind its end/.test(
    name,
  ),
);

describe.each([
  ['a full', forFulls],
  ['an increment', badStreams],
])('a bad push of %s', (kind, streams) => {
  const isFull = kind === 'a full';
  const image = isFull ? 'bad-full' : 'bad-increment';
  let base: Backup;
  let before: { list: string[]; chain: Record<string, unknown> };
  let peakKiB: number;

  beforeAll(async () => {
    base = (await pushFull(image)).backup;
    before = { list: await storeList(), chain: await chainContent(chainOf(base.id)) };
    peakKiB = await vmHwmKiB();
  });

  /** A fresh transfer with the names it needs. */
  const open = async () => {
    const to = `${nextTime()}.snap`;
    const from = isFull ? null : snapOf(base.id);
    const opened = await openPush(to, isFull ? '' : base.id, agent1, facts(image));
    return { opened, snaps: { from, to } };
  };

  /** Neither image nor snapshot is left. The client may hear of the failure before the receiver has tidied up. */
  const expectNothingLeft = async (): Promise<void> => {
    // `rbd ls -l` fails while an image goes.
    await expect.poll(() => storeList().catch(String), { timeout: 10_000, interval: 50 }).toEqual(before.list);
  };

  it.each(streams.map((bad) => [bad.name, bad] as const))('that %s is refused', async (_, bad) => {
    const { code, status, messages, ending } = bad;
    const { opened, snaps } = await open();
    const step = agent1.upload('push', messages(snaps, opened), ending);
    if (code === '') expect((await failureOf(step)).status).toBe(status);
    else await expectFailure(step, code, status);
    await expectNothingLeft();
    await expectFailure(agent1.unary('getBackup', { backupId: opened.backupId }), 'BACKUP_NOT_FOUND', 'NOT_FOUND');
  });

  it('leaves content and facts of the chain as they were', async () => {
    expect(await chainContent(chainOf(base.id))).toEqual(before.chain);
  });

  it('is followed by a good one at once', async () => {
    const { opened, snaps } = await open();
    await failureOf(agent1.upload('push', [header(opened.transferId), { data: Buffer.from('nonsense') }]));
    const started = performance.now();
    const next = await open();
    const stream = streamOf(next.snaps, ...(isFull ? fullRecords() : [diff.data(4 * MiB, some)]));
    const backup = await push(stream, next.opened);
    // A dead client's lock in the way would take 30 s.
    expect(performance.now() - started).toBeLessThan(10_000);
    const content = fullContent();
    if (!isFull) some.copy(content, 4 * MiB);
    expect(await sha256OfExport(pair.backup, backup.id)).toBe(hash(content));
    expect(hash(diff.apply((await pull(backup.id)).stream, Buffer.alloc(0)))).toBe(hash(content));
    expect(snaps.to).not.toBe(next.snaps.to);
  });

  it('never made the receiver set memory aside for what it announced', async () => {
    expect((await vmHwmKiB()) - peakKiB).toBeLessThan(150 * 1024);
  });
});

describe('a transfer id', () => {
  const stream = Buffer.from('rbd diff v1\ne');
  let before: string[];

  beforeAll(async () => {
    before = await storeList();
  });

  afterEach(async () => {
    expect(await storeList()).toEqual(before);
  });

  it.each(['', 'x', randomUUID(), '../../etc/passwd', 'ü'.repeat(5000), '🚢'.repeat(5000), `x${'🚢'.repeat(5000)}`])(
    'that nobody gave is refused: %.20j',
    async (id) => {
      const step = agent1.upload('push', [header(id), ...cut(stream), commitOf(stream)]);
      await expectFailure(step, 'INVALID_REQUEST', 'INVALID_ARGUMENT');
    },
  );

  it.each([
    ['nothing at all', []],
    ['data', [{ data: stream }]],
    ['a commit', [commitOf(stream)]],
    ['an empty message', [{}]],
  ])('must come first: not %s', async (_, messages) => {
    await expectFailure(agent1.upload('push', messages), 'INVALID_REQUEST', 'INVALID_ARGUMENT');
  });

  it('of another client is refused, and stays good for its owner', async () => {
    const snap = `${nextTime()}.snap`;
    const opened = await openPush(snap, '', agent1, facts('owned'));
    const good = streamOf({ from: null, to: snap }, diff.data(0, some));
    const stolen = agent2.upload('push', [header(opened.transferId), ...cut(good), commitOf(good)]);
    await expectFailure(stolen, 'INVALID_REQUEST', 'INVALID_ARGUMENT');
    const backup = await push(good, opened);
    expect(backup.client).toBe('agent1');
    // Used up: it is good once.
    const again = agent1.upload('push', [header(opened.transferId), ...cut(good), commitOf(good)]);
    await expectFailure(again, 'INVALID_REQUEST', 'INVALID_ARGUMENT');
    await agent1.unary('deleteBackup', { backupId: backup.id });
  });
});

describe('the progress of a transfer', () => {
  interface Progress {
    readonly waits: { readonly streamBytes: string; readonly upstreamMs: string; readonly downstreamMs: string } | null;
  }
  const progress = async (transferId: string, caller = agent1, waits: Message | null = null) =>
    (await caller.unary<Progress>('getTransferProgress', { transferId, waits })).waits;
  const silence = async (transferId: string) =>
    (await agent1.unary<{ silentMs?: number }>('getTransferProgress', { transferId, silentMs: 0 })).silentMs;
  /** As much as fits: what no honest client has counted. */
  const boast = (() => {
    const most = String(2n ** 64n - 1n);
    return { streamBytes: most, upstreamMs: most, downstreamMs: most };
  })();

  it('is told to the client whose transfer it is, while it is under way', async () => {
    const { backup } = await pushFull('told');
    for await (const _ of agent1.stream('pull', { backupId: backup.id, transferId: 'mine' })) {
      expect(Number((await progress('mine'))?.streamBytes)).toBeGreaterThanOrEqual(0);
      expect(await progress('mine', agent1, boast)).not.toBeNull();
      expect(await progress('mine', agent2)).toBeNull();
      expect(await progress('other')).toBeNull();
      expect(await silence('mine')).toEqual(expect.any(Number));
      expect(await silence('other')).toBeUndefined();
      break;
    }
    await expect.poll(() => progress('mine')).toBeNull();
    expect(await progress('')).toBeNull();
  });

  it('is told at the end of a push and of a pull, whatever the client says of itself', async () => {
    const snap = `${nextTime()}.snap`;
    const opened = await openPush(snap, '', agent1, facts('boastful'));
    expect(await progress(opened.transferId)).toBeNull();
    const stream = streamOf({ from: null, to: snap }, ...fullRecords());
    const { commit } = commitOf(stream) as { commit: Message };
    const answer = await agent1.upload<{ backup: Backup } & Progress>('push', [
      header(opened.transferId),
      ...cut(stream),
      { commit: { ...commit, waits: boast } },
    ]);
    expect(answer.waits?.streamBytes).toBe(String(stream.length));
    expect(hash(diff.apply((await pull(answer.backup.id)).stream, Buffer.alloc(0)))).toBe(hash(fullContent()));
    const parts = await agent1.all<{ trailer?: Progress }>('pull', { backupId: answer.backup.id });
    expect(Number(parts.at(-1)?.trailer?.waits?.streamBytes)).toBeGreaterThan(3 * MiB);
  });

  it('has no name that is longer than need be', async () => {
    const request = { backupId: `${pool}/x.${nextTime()}.bkp.image@${nextTime()}.snap`, transferId: 'x'.repeat(101) };
    await expectFailure(agent1.all('pull', request), 'INVALID_REQUEST', 'INVALID_ARGUMENT');
  });
});

describe('what one client has', () => {
  it('another neither sees nor reads nor builds on nor removes', async () => {
    const { backup } = await pushFull('secret');
    const before = { list: await storeList(), chain: await chainContent(chainOf(backup.id)) };
    const notThere: (() => Promise<unknown>)[] = [
      () => agent2.unary('getBackup', { backupId: backup.id }),
      () => agent2.all('pull', { backupId: backup.id }),
      () => agent2.unary('deleteBackup', { backupId: backup.id }),
      () => agent2.unary('deleteChain', { store: pool, chain: chainOf(backup.id) }),
      () => openPush(`${nextTime()}.snap`, backup.id, agent2, facts('secret')),
    ];
    for (const ask of notThere) await expectFailure(ask(), 'BACKUP_NOT_FOUND', 'NOT_FOUND');
    expect(await agent2.all('listChains', { store: pool, image: 'secret' })).toEqual([]);
    expect(await agent2.all('getStoreUsage', { store: pool, image: 'secret' })).toEqual([]);
    expect({ list: await storeList(), chain: await chainContent(chainOf(backup.id)) }).toEqual(before);
    expect((await pull(backup.id)).header).toEqual(backup);
  });

  it('nobody has in a store that he may not use, or that is not there', async () => {
    const denied: (() => Promise<unknown>)[] = [
      () => openPush(`${nextTime()}.snap`, '', agent2, facts(), 'other'),
      () => agent2.all('listChains', { store: 'other', image: '' }),
      () => agent2.all('getStoreUsage', { store: 'other' }),
      () => stranger.all('listChains', { store: pool, image: '' }),
      () => openPush(`${nextTime()}.snap`, '', stranger),
      () => stranger.upload('push', [header('x')]),
    ];
    for (const ask of denied) await expectFailure(ask(), 'ACCESS_DENIED', 'PERMISSION_DENIED');
    const missing: (() => Promise<unknown>)[] = [
      () => openPush(`${nextTime()}.snap`, '', agent1, facts(), 'nowhere'),
      () => agent1.all('listChains', { store: '' }),
    ];
    for (const ask of missing) await expectFailure(ask(), 'STORE_NOT_FOUND', 'NOT_FOUND');
    expect(await imageNames(pair.backup, 'other')).toEqual([]);
  });
});

describe('a request that cannot be right', () => {
  const time = '2026-01-01.00:00:00.000000';
  const missingId = `${pool}/none.${time}.bkp.image@${time}.snap`;
  let base: Backup;
  let before: string[];

  beforeAll(async () => {
    base = (await pushFull('requests')).backup;
    before = await storeList();
  });

  afterEach(async () => {
    expect(await storeList()).toEqual(before);
  });

  const layout = (change: Message): Message => {
    const good = facts();
    return { ...good, layout: { ...(good['layout'] as Message), ...change } };
  };
  const named = (change: Message): Message => ({
    ...facts(),
    identity: { ...identity('vm1'), image: { pool: 'rbd', namespace: '', image: 'vm1', ...change } },
  });

  it.each<[string, Message, string]>([
    ['without a source', { source: null }, 'INVALID_REQUEST'],
    ['without an identity', { source: facts('vm1', { identity: null }) }, 'INVALID_REQUEST'],
    ['without a layout', { source: facts('vm1', { layout: null }) }, 'INVALID_REQUEST'],
    [
      'without an image id',
      { source: facts('vm1', { identity: { ...identity('vm1'), imageId: '' } }) },
      'INVALID_REQUEST',
    ],
    ['without a snapshot name', { snap: '' }, 'INVALID_REQUEST'],
    ['with a snapshot name that is none', { snap: 'daily' }, 'INVALID_REQUEST'],
    ['with a snapshot name with an option', { snap: `--pool=x.${time}.snap` }, 'INVALID_REQUEST'],
    ['with objects of nothing', { source: layout({ objectSizeBytes: 0 }) }, 'INVALID_REQUEST'],
    ['with no stripes', { source: layout({ stripeCount: 0 }) }, 'INVALID_REQUEST'],
    [
      'with as many stripes as fit into the field',
      { source: layout({ stripeCount: 4_294_967_295 }) },
      'INVALID_REQUEST',
    ],
    ['with the largest size', { source: layout({ sizeBytes: '18446744073709551615' }) }, 'INVALID_REQUEST'],
    ['with an image called "a@b"', { source: named({ image: 'a@b' }) }, 'INVALID_IMAGE_SPEC'],
    ['with an image called "a/b"', { source: named({ image: 'a/b' }) }, 'INVALID_IMAGE_SPEC'],
    ['with a pool called "a/b"', { source: named({ pool: 'a/b' }) }, 'INVALID_IMAGE_SPEC'],
    ['with an image called ""', { source: named({ image: '' }) }, 'INVALID_IMAGE_SPEC'],
    ['with an image with a line break', { source: named({ image: 'a\nb' }) }, 'INVALID_IMAGE_SPEC'],
    ['on a base that is no id', { baseId: 'x' }, 'INVALID_BACKUP_ID'],
    [
      'on a base of an image called "a@b"',
      { baseId: `${pool}/a@b.${time}.bkp.image@${time}.snap` },
      'INVALID_BACKUP_ID',
    ],
    ['on a base in another store', { baseId: missingId.replace(pool, 'other') }, 'INVALID_REQUEST'],
    ['on a base that is not there', { baseId: missingId }, 'BACKUP_NOT_FOUND'],
  ])('to open a push %s', async (_, change, code) => {
    const request = { store: pool, source: facts(), snap: `${nextTime()}.snap`, baseId: '', ...change };
    const error = await failureOf(agent1.unary('openPush', request));
    expect(error.detail.code).toBe(code);
  });

  it('to open a push on a base whose chain has a snapshot of that name', async () => {
    await expectFailure(openPush(snapOf(base.id), base.id), 'SNAPSHOT_EXISTS', 'ALREADY_EXISTS');
  });

  it.each(['getBackup', 'pull', 'deleteBackup'])('to %s what is not there, or no id', async (method) => {
    const ask = (backupId: string) =>
      method === 'pull' ? agent1.all(method, { backupId }) : agent1.unary(method, { backupId });
    await expectFailure(ask(missingId), 'BACKUP_NOT_FOUND', 'NOT_FOUND');
    await expectFailure(ask(`${chainOf(base.id)}@${snapOf(base.id)}`), 'INVALID_BACKUP_ID', 'INVALID_ARGUMENT');
    await expectFailure(ask(base.id.replace(pool, 'nowhere')), 'STORE_NOT_FOUND', 'NOT_FOUND');
  });

  it.each(['', 'x', `a\nb.${time}.bkp.image`, `a/b.${time}.bkp.image`, `a@b.${time}.bkp.image`])(
    'to remove a chain called %j',
    async (chain) => {
      const step = agent1.unary('deleteChain', { store: pool, chain });
      await expectFailure(step, 'INVALID_REQUEST', 'INVALID_ARGUMENT');
    },
  );
});

describe('what a backup added', () => {
  it('is told while a push holds the chain, and written down only afterwards', async () => {
    // Nothing is measured in the background while this one is open.
    const other = await openPush(`${nextTime()}.snap`, '', agent1, facts('measured-other'));
    const { backup } = await pushFull('measured');
    const usage = async (): Promise<string[]> => {
      const answers = await agent1.all<{ usage: { backups: { addedBytes: string }[] } }>('getStoreUsage', {
        store: pool,
        image: 'measured',
      });
      return answers.flatMap(({ usage }) => usage.backups.map(({ addedBytes }) => addedBytes));
    };
    const written = async (): Promise<string[]> => {
      const image = `${pool}/${chainOf(backup.id)}`;
      const { stdout } = await pair.backup.rbd(['image-meta', 'list', '--format', 'json', image]);
      return Object.keys(JSON.parse(stdout) as object).filter((key) => key.startsWith('rbdferry.usage.'));
    };
    const held = await openPush(`${nextTime()}.snap`, backup.id, agent1, facts('measured'));
    const told = await usage();
    expect(Number(told[0])).toBeGreaterThan(3 * MiB);
    expect(await written()).toEqual([]);
    for (const { transferId } of [held, other])
      await expectFailure(agent1.upload('push', [header(transferId)]), 'STREAM_TRUNCATED', 'DATA_LOSS');
    expect(await usage()).toEqual(told);
    expect(await written()).toEqual([`rbdferry.usage.${snapOf(backup.id)}`]);
    await agent1.unary('deleteBackup', { backupId: backup.id });
  });
});

describe('backups that are removed', () => {
  it('are removed alone, wherever they are in their chain; with the last one the chain goes', async () => {
    const { backup: full } = await pushFull('removed');
    const backups = [full];
    for (const seed of ['one', 'two']) {
      const base = backups.at(-1)?.id ?? '';
      const snap = `${nextTime()}.snap`;
      const opened = await openPush(snap, base, agent1, facts('removed'));
      backups.push(
        await push(streamOf({ from: snapOf(base), to: snap }, diff.data(0, randomBytes(seed, 5000))), opened),
      );
    }
    const [first, middle, last] = backups;
    if (first === undefined || middle === undefined || last === undefined) throw new Error('no backups');
    const hashes = [await sha256OfExport(pair.backup, first.id), await sha256OfExport(pair.backup, last.id)];
    await agent1.unary('deleteBackup', { backupId: middle.id, dryRun: true });
    await agent1.unary('getBackup', { backupId: middle.id });
    expect(await agent1.unary('deleteBackup', { backupId: middle.id })).toMatchObject({ chainRemoved: false });
    await expectFailure(agent1.unary('getBackup', { backupId: middle.id }), 'BACKUP_NOT_FOUND', 'NOT_FOUND');
    expect([await sha256OfExport(pair.backup, first.id), await sha256OfExport(pair.backup, last.id)]).toEqual(hashes);
    expect(await agent1.unary('deleteChain', { store: pool, chain: chainOf(full.id) })).toMatchObject({
      backupIds: [first.id, last.id],
    });
    expect(await imageNames(pair.backup, pool)).not.toContain(chainOf(full.id));
  });
});

describe('a chain of the older tool', () => {
  const chain = 'old.2015-07-07.10:40:39.458883.bkp.image';
  const snaps = ['2015-07-07.10:40:43.707889.snap', '2015-07-08.10:40:43.707889.snap'];
  const image = `${pool}/${chain}`;

  beforeAll(async () => {
    await pair.backup.rbd(['create', '--size', '8M', image]);
    for (const [index, snap] of snaps.entries()) {
      await applyWrites(pair.backup, image, [{ offset: index * MiB, data: randomBytes(snap, 100_000) }]);
      await pair.backup.rbd(['snap', 'create', `${image}@${snap}`]);
    }
    // What else may be found there: an operator's own snapshot, and a date that never was.
    for (const other of ['daily', '2015-99-99.99:99:99.000000.snap'])
      await pair.backup.rbd(['snap', 'create', `${image}@${other}`]);
  });

  it('is listed with what its names tell, to every client, beside the other chains', async () => {
    for (const caller of [agent1, agent2]) {
      const chains = await caller.all<{ chain: { name: string; legacy: boolean; backups: Backup[] } }>('listChains', {
        store: pool,
      });
      const found = chains.find((each) => each.chain.name === chain)?.chain;
      expect(found?.legacy).toBe(true);
      expect(found?.backups.slice(0, 2)).toMatchObject([
        { id: `${image}@${snaps[0]}`, kind: 'BACKUP_KIND_FULL', source: null, client: '', sizeBytes: '8388608' },
        { id: `${image}@${snaps[1]}`, kind: 'BACKUP_KIND_INCREMENTAL', source: null, client: '' },
      ]);
    }
  });

  it('is read, and never built on', async () => {
    for (const snap of snaps) {
      const id = `${image}@${snap}`;
      const { stream } = await pull(id);
      expect(hash(diff.apply(stream, Buffer.alloc(0)))).toBe(await sha256OfExport(pair.backup, id));
      const step = openPush(`${nextTime()}.snap`, id, agent1, facts('old'));
      await expectFailure(step, 'NO_COMMON_SNAPSHOT', 'FAILED_PRECONDITION');
    }
  });
});

describe('the push that was opened and never sent', () => {
  it('is cleaned up after a minute, and its chain is free again', { timeout: 120_000 }, async () => {
    const { base } = forgotten;
    if (base === undefined) throw new Error('there was none');
    // The receiver gives it a minute.
    await sleep(Math.max(0, forgotten.openedAt + 61_000 - performance.now()));
    for (let tries = 0; tries < 100; tries += 1) {
      if (!(await imageNames(pair.backup, pool)).includes(forgotten.full)) break;
      await sleep(100);
    }
    expect(await imageNames(pair.backup, pool)).not.toContain(forgotten.full);
    const snap = `${nextTime()}.snap`;
    const started = performance.now();
    const opened = await openPush(snap, base.id, agent1, facts('forgotten-base'));
    await push(streamOf({ from: snapOf(base.id), to: snap }, diff.data(0, some)), opened);
    expect(performance.now() - started).toBeLessThan(10_000);
    expect(await sha256OfExport(pair.backup, base.id)).toBe(hash(fullContent()));
  });
});
