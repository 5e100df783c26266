import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { failureOf } from '../blackbox/calls.js';
import { ControlClient, type Job } from '../blackbox/control-client.js';
import { ghost } from '../blackbox/foreign-receiver.js';
import type { Caller, Message } from '../blackbox/wire.js';
import { randomBytes } from '../ceph/image-content.js';
import { startHouse, type House } from './house.js';
import { snapOf } from './site.js';

/** The agent, driven over its socket by somebody else's program. */

const MiB = 1024 * 1024;
let house: House;
let agent: ControlClient;
let caller: Caller;

beforeAll(async () => {
  house = await startHouse();
  agent = new ControlClient(house.socket);
  ({ caller } = agent);
  await house.source.create('rbd/vm1', { sizeBytes: BigInt(4 * MiB) });
  house.source.write('rbd/vm1', 5000, randomBytes('vm1', 2 * MiB));
});

afterAll(async () => {
  agent?.close();
  await house?.stop();
});

describe('the control service', () => {
  let first: Job;

  it('says who it is and which receivers it knows', async () => {
    expect(await caller.unary('getAgentInfo', {})).toEqual({
      software: expect.stringMatching(/^rbdferry\/\d+\.\d+\.\d+/),
      defaultReceiver: 'dr',
      receivers: [
        { name: 'dr', address: `localhost:${String(house.receiver.record('ready')?.['port'])}`, defaultStore: 'rbd2' },
      ],
    });
  });

  it('backs up as a job that can be watched to its end', async () => {
    const started = await agent.start('startBackup', { image: 'rbd/vm1' });
    expect(started).toMatchObject({ kind: 'JOB_KIND_BACKUP', image: 'rbd/vm1', receiver: 'dr', store: 'rbd2' });
    const states = await agent.watch(started.id);
    expect(states.every(({ id }) => id === started.id)).toBe(true);
    expect(states.slice(0, -1).every(({ state }) => state === 'queued' || state === 'running')).toBe(true);
    first = states.at(-1) ?? started;
    expect(first).toMatchObject({ state: 'committed', backupKind: 'BACKUP_KIND_FULL' });
    expect(Number(first.committed?.streamBytes)).toBeGreaterThan(2 * MiB);
    expect(Number(first.createdAtMs)).toBeLessThanOrEqual(Number(first.startedAtMs));
    expect(Number(first.startedAtMs)).toBeLessThanOrEqual(Number(first.endedAtMs));
    expect(house.backup.sha256(first.backupId)).toBe(house.source.sha256(`rbd/vm1@${snapOf(first.backupId)}`));
  });

  it('tells of a job that has ended', async () => {
    expect((await caller.unary<{ job: Job }>('getJob', { jobId: first.id })).job).toEqual(first);
    expect(await agent.watch(first.id)).toEqual([first]);
    // Asked to stop a job that has ended, it answers with the job as it is.
    expect((await caller.unary<{ job: Job }>('cancelJob', { jobId: first.id })).job).toEqual(first);
  });

  it('makes the next backup an increment, and lists both', async () => {
    house.source.write('rbd/vm1', 3 * MiB, randomBytes('second', 10_000));
    const second = await agent.ended(
      await agent.start('startBackup', { image: 'rbd/vm1', mode: 'BACKUP_MODE_INCREMENTAL' }),
    );
    expect(second).toMatchObject({ state: 'committed', backupKind: 'BACKUP_KIND_INCREMENTAL' });
    const listed = await caller.all<{ chain: { backups: { id: string }[] }; presentOnSource: string[] }>(
      'listBackups',
      {
        image: 'rbd/vm1',
      },
    );
    expect(listed.flatMap(({ chain: { backups } }) => backups.map(({ id }) => id))).toEqual([
      first.backupId,
      second.backupId,
    ]);
    expect(listed.flatMap(({ presentOnSource }) => presentOnSource)).toEqual([second.backupId]);
    expect((await caller.all<{ chain: unknown }>('listBackups', {})).length).toBe(1);
  });

  it('restores under another name', async () => {
    const job = await agent.start('startRestore', { backupId: first.backupId, to: 'rbd/back' });
    expect(await agent.ended(job)).toMatchObject({ state: 'committed', kind: 'JOB_KIND_RESTORE', image: 'rbd/back' });
    expect(house.source.sha256('rbd/back')).toBe(house.backup.sha256(first.backupId));
    await house.source.remove('rbd/back');
  });

  it('takes a limit for a part of the request', async () => {
    const request = { image: 'rbd/none', limitBytesPerSecond: '5000000', idempotencyKey: 'limited' };
    const job = await agent.start('startBackup', request);
    expect(job).toMatchObject({ limitBytesPerSecond: '5000000' });
    expect((await agent.start('startBackup', request)).id).toBe(job.id);
    const other = caller.unary('startBackup', { ...request, limitBytesPerSecond: '6000000' });
    expect((await failureOf(other)).detail.code).toBe('INVALID_REQUEST');
    const none = caller.unary('startBackup', { ...request, limitBytesPerSecond: '0' });
    expect((await failureOf(none)).detail.code).toBe('INVALID_REQUEST');
    await agent.ended(job);
  });

  it('lists jobs, newest first, of one image, active ones, and so many', async () => {
    const list = async (request: Message): Promise<Job[]> =>
      (await caller.unary<{ jobs: Job[] }>('listJobs', request)).jobs;
    const all = await list({});
    const [backup, restore] = ['JOB_KIND_BACKUP', 'JOB_KIND_RESTORE'];
    expect(all.map(({ kind }) => kind)).toEqual([backup, restore, backup, backup]);
    expect((await list({ image: 'rbd/vm1' })).map(({ id }) => id)).toEqual(all.slice(2).map(({ id }) => id));
    expect(await list({ activeOnly: true })).toEqual([]);
    expect(await list({ limit: 1 })).toEqual(all.slice(0, 1));
  });

  it('cancels a running job, cleans up, and answers when that is done', async () => {
    await house.source.create('rbd/big', { sizeBytes: BigInt(4 * MiB) });
    house.source.write('rbd/big', 0, randomBytes('big', 4 * MiB));
    const before = house.backup.cluster.everything();
    const hang = house.source.cluster.trouble.hang((call) => call === 'exportDiff.chunk');
    const job = await agent.start('startBackup', { image: 'rbd/big' });
    await agent.untilDataIsSent(job);
    const answer = await caller.unary<{ job: Job }>('cancelJob', { jobId: job.id });
    hang.release();
    expect(answer.job.state).toBe('cancelled');
    expect(await house.source.snapNames('rbd/big')).toEqual([]);
    expect(house.backup.cluster.everything()).toEqual(before);
    expect(house.backup.cluster.allWatchers()).toEqual([]);
    await house.source.remove('rbd/big');
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
    const error = await failureOf(caller.unary(method, request));
    expect([error.detail.code, error.status]).toEqual([code, grpcStatus]);
    expect(error.detail.hint).not.toBe('');
  });

  it.each<[string, Message, string]>([
    ['watchJob', { jobId: 'x' }, 'JOB_NOT_FOUND'],
    ['listBackups', { image: 'x' }, 'INVALID_IMAGE_SPEC'],
    ['listBackups', { receiver: 'x' }, 'RECEIVER_NOT_FOUND'],
    ['listBackups', { store: 'x' }, 'STORE_NOT_FOUND'],
  ])('refuses %s %j', async (method, request, code) => {
    expect((await failureOf(caller.all(method, request))).detail.code).toBe(code);
  });

  it('tells what a job failed with', async () => {
    const job = await agent.ended(await agent.start('startBackup', { image: 'rbd/none' }));
    expect(job).toMatchObject({ state: 'failed', failed: { error: { code: 'IMAGE_NOT_FOUND' } } });
    expect(job.failed?.error.hint).not.toBe('');
  });
});
