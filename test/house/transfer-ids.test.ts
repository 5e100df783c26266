import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { CephPort } from '@rbdferry/core/ceph/port.js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { commitOf, cut, facts, fullRecords, header, nextTime, some, streamOf } from '../blackbox/backup-streams.js';
import { expectFailure } from '../blackbox/calls.js';
import * as diff from '../blackbox/diff-v1.js';
import type { Backup, TransferClient } from '../blackbox/transfer-client.js';
import type { Message } from '../blackbox/wire.js';
import { delayedCeph } from '../fake-ceph/delayed-ceph.js';
import { watchedCeph } from '../fake-ceph/watched-ceph.js';
import { pool, startTransferHouse, type TransferHouse } from './transfer-house.js';

/** A transfer between its opening and its end: whose it is, what it tells of itself, and what is left when nobody comes for it. */

let at: TransferHouse;
let agent1: TransferClient;

beforeAll(async () => {
  at = await startTransferHouse();
  ({ agent1 } = at);
});

afterAll(() => at?.stop());

describe('a transfer id', () => {
  const stream = Buffer.from('rbd diff v1\ne');
  const strange = [
    '',
    'x',
    randomUUID(),
    '../../etc/passwd',
    'ü'.repeat(5000),
    '🚢'.repeat(5000),
    `x${'🚢'.repeat(5000)}`,
  ];

  it.each(strange)('that nobody gave is refused: %.20j', async (id) => {
    const before = await at.state();
    const step = agent1.send([header(id), ...cut(stream), commitOf(stream)]);
    await expectFailure(step, 'INVALID_REQUEST', 'INVALID_ARGUMENT');
    await at.expectUnchanged(before);
  });

  it.each<[string, Message[]]>([
    ['nothing at all', []],
    ['data', [{ data: stream }]],
    ['a commit', [commitOf(stream)]],
    ['an empty message', [{}]],
  ])('must come first: not %s', async (_, messages) => {
    const before = await at.state();
    await expectFailure(agent1.send(messages), 'INVALID_REQUEST', 'INVALID_ARGUMENT');
    await at.expectUnchanged(before);
  });

  it('of another client is refused, and stays good for its owner, once', async () => {
    const before = await at.state();
    const opened = await agent1.open({ image: 'owned' });
    const good = streamOf(opened.snaps, diff.data(0, some));
    const messages = [header(opened.transferId), ...cut(good), commitOf(good)];
    await expectFailure(at.agent2.send(messages), 'INVALID_REQUEST', 'INVALID_ARGUMENT');
    const { backup } = await agent1.send(messages);
    expect(backup.client).toBe('agent1');
    await expectFailure(agent1.send(messages), 'INVALID_REQUEST', 'INVALID_ARGUMENT');
    expect(await agent1.backup(backup.id)).toEqual(backup);
    await agent1.deleteBackup(backup.id);
    await at.expectUnchanged(before);
  });
});

describe('the progress of a transfer', () => {
  interface Waits {
    readonly streamBytes: string;
    readonly upstreamMs: string;
    readonly downstreamMs: string;
  }
  const progress = async (transferId: string, { caller } = agent1, waits: Message | null = null) =>
    (await caller.unary<{ waits: Waits | null }>('getTransferProgress', { transferId, waits })).waits;
  const silence = async (transferId: string) =>
    (await agent1.caller.unary<{ silentMs?: number }>('getTransferProgress', { transferId, silentMs: 0 })).silentMs;
  /** As much as fits: what no honest client has counted. */
  const most = String(2n ** 64n - 1n);
  const boast = { streamBytes: most, upstreamMs: most, downstreamMs: most };

  it('is told to the client whose transfer it is, while it is under way', async () => {
    const { backup } = await agent1.pushFull('told');
    const request = { backupId: backup.id, transferId: 'mine', limitBytesPerSecond: '100000' };
    for await (const _ of agent1.caller.stream('pull', request)) {
      expect(Number((await progress('mine'))?.streamBytes)).toBeGreaterThanOrEqual(0);
      expect(await progress('mine', agent1, boast)).not.toBeNull();
      expect(await progress('mine', at.agent2)).toBeNull();
      expect(await progress('other')).toBeNull();
      expect(await silence('mine')).toEqual(expect.any(Number));
      expect(await silence('other')).toBeUndefined();
      break;
    }
    await expect.poll(() => progress('mine')).toBeNull();
    expect(await progress('')).toBeNull();
  });

  it('is told at the end of a push and of a pull, whatever the client says of itself', async () => {
    const opened = await agent1.open({ image: 'boastful' });
    expect(await progress(opened.transferId)).toBeNull();
    const stream = streamOf(opened.snaps, ...fullRecords());
    const { commit } = commitOf(stream) as { commit: Message };
    const sent = [header(opened.transferId), ...cut(stream), { commit: { ...commit, waits: boast } }];
    const { backup, waits } = await agent1.send(sent);
    expect(waits?.['streamBytes']).toBe(String(stream.length));
    const parts = await agent1.caller.all<{ trailer?: { waits: Waits } }>('pull', { backupId: backup.id });
    expect(parts.at(-1)?.trailer?.waits.streamBytes).toBe(String((await agent1.pull(backup.id)).stream.length));
  });

  it('has no name that is longer than need be', async () => {
    const request = { backupId: `${pool}/x.${nextTime()}.bkp.image@${nextTime()}.snap`, transferId: 'x'.repeat(101) };
    await expectFailure(agent1.caller.all('pull', request), 'INVALID_REQUEST', 'INVALID_ARGUMENT');
  });
});

describe('a push that is opened and never sent', () => {
  let base: Backup;
  let before: Awaited<ReturnType<TransferHouse['state']>>;

  beforeAll(async () => {
    ({ backup: base } = await agent1.pushFull('forgotten'));
    before = await at.state();
  });

  it('goes when its client opens another one on that chain', async () => {
    const { backup } = await agent1.pushFull('reopened');
    await agent1.open({ image: 'reopened', baseId: backup.id });
    const again = await agent1.open({ image: 'reopened', baseId: backup.id });
    await agent1.push(again, diff.data(0, some));
    expect((await agent1.chains('reopened'))[0]?.backups.map(({ id }) => id)).toEqual([backup.id, again.backupId]);
    before = await at.state();
  });

  it.each(['a full', 'an increment'])('goes when its client asks what became of it (%s)', async (kind) => {
    const { backupId } = await agent1.open({ image: 'forgotten', baseId: kind === 'a full' ? '' : base.id });
    await expectFailure(agent1.backup(backupId), 'BACKUP_NOT_FOUND', 'NOT_FOUND');
    await at.expectUnchanged(before);
  });

  it('goes when the receiver stops', async () => {
    await agent1.open({ image: 'forgotten' });
    await agent1.open({ image: 'forgotten', baseId: base.id });
    await at.house.receiver.restart();
    await at.expectUnchanged(before);
  });
});

describe('a push whose client goes away while it is opened', () => {
  let base: Backup;

  beforeAll(async () => {
    ({ backup: base } = await agent1.pushFull('abandoned'));
    await at.state();
  });

  /** Restarts the receiver with this in between, and waits until it has looked through its stores. */
  const restart = async (between: (ceph: CephPort) => CephPort): Promise<void> => {
    const { receiver } = at.house;
    receiver.between = between;
    await receiver.stop();
    receiver.records.length = 0;
    await receiver.start();
    await expect.poll(() => receiver.records.filter(({ msg }) => msg === 'store checked').length).toBe(2);
  };

  it.each(['a full', 'an increment'])('leaves nothing, wherever the opening of %s is by then', async (kind) => {
    const baseId = kind === 'a full' ? '' : base.id;
    const request = () => ({ store: pool, source: facts('abandoned'), snap: `${nextTime()}.snap`, baseId });
    let calls: readonly unknown[] = [];
    await restart((ceph) => {
      const watched = watchedCeph(ceph);
      ({ calls } = watched);
      return watched.ceph;
    });
    const before = await at.state();
    const earlier = calls.length;
    const { backupId } = await agent1.caller.unary<{ backupId: string }>('openPush', request());
    const count = calls.length - earlier;
    expect(count).toBeGreaterThan(2);
    await expectFailure(agent1.backup(backupId), 'BACKUP_NOT_FOUND', 'NOT_FOUND');
    for (const when of ['before', 'after'] as const) {
      for (let number = 1; number <= count; number += 1) {
        let isOpening = false;
        let seen = 0;
        let delayed: ReturnType<typeof delayedCeph> | undefined;
        await restart((ceph) => {
          delayed = delayedCeph(ceph, () => isOpening && (seen += 1) === number, when);
          return delayed.ceph;
        });
        isOpening = true;
        const asked = request();
        const held = delayed?.held.then(({ text }) => text) ?? Promise.resolve('');
        const abandoned = agent1.caller.abandon('openPush', asked, held);
        const where = `${when} ${await held}`;
        await abandoned;
        const chain = kind === 'a full' ? `${pool}/abandoned.${asked.snap.replace('.snap', '.bkp.image')}` : baseId;
        const id = `${chain.replace(/@.*/, '')}@${asked.snap}`;
        const answer = expectFailure(agent1.backup(id), 'BACKUP_NOT_FOUND', 'NOT_FOUND');
        // Long enough for the receiver to hear of it; what comes out is the same if it was not.
        await sleep(20);
        delayed?.release();
        await answer;
        // It is answered for only when that is so.
        expect(at.house.backup.cluster.everything(), where).toEqual(before.everything);
        await at.expectUnchanged(before);
      }
    }
  });
});
