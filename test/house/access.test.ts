import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { chainOf, header } from '../blackbox/backup-streams.js';
import { expectFailure } from '../blackbox/calls.js';
import type { TransferClient } from '../blackbox/transfer-client.js';
import { pool, startTransferHouse, type TransferHouse } from './transfer-house.js';

/** Who may see and do what at a receiver. */

let at: TransferHouse;
let agent1: TransferClient;
let agent2: TransferClient;
let stranger: TransferClient;

beforeAll(async () => {
  at = await startTransferHouse();
  ({ agent1, agent2, stranger } = at);
});

afterAll(() => at?.stop());

it('what one client has, another neither sees nor reads nor builds on nor removes', async () => {
  const { backup } = await agent1.pushFull('secret');
  const before = await at.state();
  const { caller } = agent2;
  const notThere: (() => Promise<unknown>)[] = [
    () => caller.unary('getBackup', { backupId: backup.id }),
    () => caller.all('pull', { backupId: backup.id }),
    () => caller.unary('deleteBackup', { backupId: backup.id }),
    () => caller.unary('deleteBackup', { backupId: backup.id, dryRun: true }),
    () => caller.unary('deleteChain', { store: pool, chain: chainOf(backup.id) }),
    () => agent2.open({ image: 'secret', baseId: backup.id }),
  ];
  for (const ask of notThere) await expectFailure(ask(), 'BACKUP_NOT_FOUND', 'NOT_FOUND');
  expect(await agent2.chains('secret')).toEqual([]);
  expect(await agent2.chains()).toEqual([]);
  for (const image of ['secret', '']) {
    expect(await caller.all('getStoreUsage', { store: pool, image })).toEqual([]);
  }
  await at.expectUnchanged(before);
  expect((await agent1.pull(backup.id)).header).toEqual(backup);
});

describe('nobody has anything in a store', () => {
  it.each<[string, () => Promise<unknown>]>([
    ['openPush', () => agent2.open({ store: 'other' })],
    ['listChains', () => agent2.caller.all('listChains', { store: 'other', image: '' })],
    ['getStoreUsage', () => agent2.caller.all('getStoreUsage', { store: 'other' })],
    ['deleteChain', () => agent2.caller.unary('deleteChain', { store: 'other', chain: 'x' })],
    ['listChains of a stranger', () => stranger.chains()],
    ['openPush of a stranger', () => stranger.open()],
    ['push of a stranger', () => stranger.send([header('x')])],
    ['getTransferProgress of a stranger', () => stranger.caller.unary('getTransferProgress', { transferId: 'x' })],
  ])('that he may not use: %s', async (_, ask) => {
    const before = await at.state();
    await expectFailure(ask(), 'ACCESS_DENIED', 'PERMISSION_DENIED');
    await at.expectUnchanged(before);
  });

  it('that is not there', async () => {
    const before = await at.state();
    const missing: (() => Promise<unknown>)[] = [
      () => agent1.open({ store: 'nowhere' }),
      () => agent1.caller.all('listChains', { store: '' }),
    ];
    for (const ask of missing) await expectFailure(ask(), 'STORE_NOT_FOUND', 'NOT_FOUND');
    await at.expectUnchanged(before);
  });
});

describe('a client', () => {
  it('that the configuration no longer names is shut out, also of what it has opened', async () => {
    const { backup } = await agent2.pushFull('of-two');
    const before = await at.state();
    const { transferId } = await agent2.open({ image: 'of-two', baseId: backup.id });
    const { receiver } = at.house;
    const clients = receiver.config['clients'];
    receiver.config['clients'] = { agent1: { stores: [pool, 'other'] } };
    await receiver.reload();
    for (const ask of [() => agent2.chains(), () => agent2.send([header(transferId)]), () => agent2.backup(backup.id)])
      await expectFailure(ask(), 'ACCESS_DENIED', 'PERMISSION_DENIED');
    receiver.config['clients'] = clients;
    await receiver.reload();
    expect(await agent2.backup(backup.id)).toEqual(backup);
    // Its question about that very backup ends what it had opened; this one is about another.
    await expectFailure(agent2.send([header(transferId)]), 'STREAM_TRUNCATED', 'DATA_LOSS');
    await at.expectUnchanged(before);
  });
});
