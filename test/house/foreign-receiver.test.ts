import { status } from '@grpc/grpc-js';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { MiB } from '../blackbox/backup-streams.js';
import { ControlClient, type Job } from '../blackbox/control-client.js';
import * as diff from '../blackbox/diff-v1.js';
import {
  content,
  ferryRefusal,
  ghost,
  ghostBackup,
  honest,
  pullOf,
  Refusal,
  size,
  snap,
  startForeignReceiver,
  stream,
  type Behaviour,
  type ForeignReceiver,
} from '../blackbox/foreign-receiver.js';
import type { Message } from '../blackbox/wire.js';
import * as zstd from '../blackbox/zstd.js';
import { expectError } from '../harness/expect-error.js';
import { startHouse, type House } from './house.js';

/** The agent, sent to receivers that are not ours: of another version, and in a restore. */

let house: House;
let agent: ControlClient;
let receiver: ForeignReceiver;

beforeAll(async () => {
  house = await startHouse();
  receiver = await startForeignReceiver(`${house.dir}/pki`);
  const receivers = house.agent.config['receivers'] as { dr: object };
  house.agent.config['receivers'] = {
    dr: { ...receivers.dr, address: `localhost:${receiver.port}`, compression: 'on' },
  };
  await house.agent.restart();
  agent = new ControlClient(house.socket);
  await house.source.create('rbd/vm1', { sizeBytes: BigInt(4 * MiB) });
});

afterEach(async () => {
  receiver.behaviour = honest();
  // Whatever it was, nothing of it is left on the source.
  expect(await house.source.imageNames('rbd')).toEqual(['vm1']);
  expect(await house.source.snapNames('rbd/vm1')).toEqual([]);
  expect(await house.source.trash('rbd')).toEqual([]);
  expect(house.source.cluster.allWatchers()).toEqual([]);
});

afterAll(async () => {
  agent?.close();
  await house?.stop();
  receiver?.stop();
});

const backUp = async () => agent.ended(await agent.start('startBackup', { image: 'rbd/vm1' }));
const restore = async () => agent.ended(await agent.start('startRestore', { backupId: ghost, to: 'rbd/ghost' }));

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
    receiver.behaviour.handshake = handshake;
    expectFailed(await backUp(), 'PROTOCOL_MISMATCH');
    expectFailed(await restore(), 'PROTOCOL_MISMATCH');
    expectError(await house.cli('backup', 'rbd/vm1'), 'PROTOCOL_MISMATCH', 44, '');
    expectError(await house.cli('list'), 'PROTOCOL_MISMATCH', 44, '');
  });
});

describe('in a restore', () => {
  const expectGhost = async () => {
    expect(house.source.sha256('rbd/ghost')).toBe(diff.sha256(content).toString('hex'));
    await house.source.remove('rbd/ghost');
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
    receiver.behaviour.handshake = withZstd;
    receiver.behaviour.pull = () => pullWith((data) => ({ frame: zstd.stored(data), contentBytes: data.length }));
    const job = await restore();
    expect(job.committed?.warnings).toEqual([]);
    await expectGhost();
  });

  it('is not believed when it compresses what it said it could not', async () => {
    receiver.behaviour.pull = () => pullWith((data) => ({ frame: zstd.stored(data), contentBytes: data.length }));
    expectFailed(await restore(), 'INVALID_REQUEST', /compressed/);
  });

  it.each<[string, (data: Buffer) => Message]>([
    ['is no frame', (data) => ({ frame: data, contentBytes: data.length })],
    ['is a bomb', () => ({ frame: zstd.zeroes(512 * MiB), contentBytes: MiB })],
    ['is longer than it says', (data) => ({ frame: zstd.stored(data), contentBytes: data.length - 1 })],
  ])('is not believed when a compressed part %s', async (_, part) => {
    receiver.behaviour.handshake = withZstd;
    receiver.behaviour.pull = () => pullWith(part);
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
    receiver.behaviour.pull = pull;
    expectFailed(await restore(), code);
  });

  it.each<[string, () => Message | null, string]>([
    ['has no such backup', () => null, 'BACKUP_NOT_FOUND'],
    ['tells of a backup without an id', () => ghostBackup({ id: '' }), 'INVALID_BACKUP_ID'],
    ['tells of objects of nothing', () => ghostBackup({}, {}, { objectSizeBytes: 0 }), 'INVALID_REQUEST'],
    ['tells of endless stripes', () => ghostBackup({}, {}, { stripeCount: 4_294_967_295 }), 'INVALID_REQUEST'],
    ['tells of an endless image', () => ghostBackup({}, {}, { sizeBytes: '18446744073709551615' }), 'INVALID_REQUEST'],
    ['tells of features that are options', () => ghostBackup({}, {}, { features: ['--conf=/x'] }), 'INVALID_REQUEST'],
    ['tells of a data pool that is an option', () => ghostBackup({}, {}, { dataPool: '--conf=/x' }), 'INVALID_REQUEST'],
    ['tells of a data pool that is not there', () => ghostBackup({}, {}, { dataPool: 'nowhere' }), 'CANNOT_RECREATE'],
  ])('is not believed when it %s', async (_, backup, code) => {
    receiver.behaviour.backup = backup;
    expectFailed(await restore(), code);
  });
});
