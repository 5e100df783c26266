import { afterEach, afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { chainOf, facts, identity, nextTime, snapOf } from '../blackbox/backup-streams.js';
import { expectFailure, failureOf } from '../blackbox/calls.js';
import type { Backup, TransferClient } from '../blackbox/transfer-client.js';
import type { Message } from '../blackbox/wire.js';
import { pool, startTransferHouse, type TransferHouse } from './transfer-house.js';

/** Requests to a receiver that cannot be right: each is refused with its code, and nothing is left of it. */

const time = '2026-01-01.00:00:00.000000';
const missingId = `${pool}/none.${time}.bkp.image@${time}.snap`;
let at: TransferHouse;
let agent1: TransferClient;
let base: Backup;
let before: Awaited<ReturnType<TransferHouse['state']>>;

beforeAll(async () => {
  at = await startTransferHouse();
  ({ agent1 } = at);
  base = (await agent1.pushFull('requests')).backup;
});

afterAll(() => at?.stop());

beforeEach(async () => {
  before = await at.state();
});

afterEach(() => at.expectUnchanged(before));

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
  ['with as many stripes as fit into the field', { source: layout({ stripeCount: 4_294_967_295 }) }, 'INVALID_REQUEST'],
  ['with the largest size', { source: layout({ sizeBytes: '18446744073709551615' }) }, 'INVALID_REQUEST'],
  ['with an image called "a@b"', { source: named({ image: 'a@b' }) }, 'INVALID_IMAGE_SPEC'],
  ['with an image called "a/b"', { source: named({ image: 'a/b' }) }, 'INVALID_IMAGE_SPEC'],
  ['with a pool called "a/b"', { source: named({ pool: 'a/b' }) }, 'INVALID_IMAGE_SPEC'],
  ['with an image called ""', { source: named({ image: '' }) }, 'INVALID_IMAGE_SPEC'],
  ['with an image with a line break', { source: named({ image: 'a\nb' }) }, 'INVALID_IMAGE_SPEC'],
  ['on a base that is no id', { baseId: 'x' }, 'INVALID_BACKUP_ID'],
  ['on a base of an image called "a@b"', { baseId: `${pool}/a@b.${time}.bkp.image@${time}.snap` }, 'INVALID_BACKUP_ID'],
  ['on a base in another store', { baseId: missingId.replace(pool, 'other') }, 'INVALID_REQUEST'],
  ['on a base that is not there', { baseId: missingId }, 'BACKUP_NOT_FOUND'],
])('to open a push %s', async (_, change, code) => {
  const request = { store: pool, source: facts(), snap: `${nextTime()}.snap`, baseId: '', ...change };
  const error = await failureOf(agent1.caller.unary('openPush', request));
  expect(error.detail.code).toBe(code);
});

it('to open a push on a base whose chain has a snapshot of that name', async () => {
  const step = agent1.open({ image: 'requests', snap: snapOf(base.id), baseId: base.id });
  await expectFailure(step, 'SNAPSHOT_EXISTS', 'ALREADY_EXISTS');
});

it.each(['getBackup', 'pull', 'deleteBackup'])('to %s what is not there, or no id', async (method) => {
  const ask = (backupId: string) =>
    method === 'pull' ? agent1.caller.all(method, { backupId }) : agent1.caller.unary(method, { backupId });
  await expectFailure(ask(missingId), 'BACKUP_NOT_FOUND', 'NOT_FOUND');
  await expectFailure(ask(`${chainOf(base.id)}@${snapOf(base.id)}`), 'INVALID_BACKUP_ID', 'INVALID_ARGUMENT');
  await expectFailure(ask(base.id.replace(pool, 'nowhere')), 'STORE_NOT_FOUND', 'NOT_FOUND');
});

it.each(['', 'x', `a\nb.${time}.bkp.image`, `a/b.${time}.bkp.image`, `a@b.${time}.bkp.image`])(
  'to remove a chain called %j',
  async (chain) => {
    const step = agent1.caller.unary('deleteChain', { store: pool, chain });
    await expectFailure(step, 'INVALID_REQUEST', 'INVALID_ARGUMENT');
  },
);
