import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { badStreams } from '../blackbox/bad-streams.js';
import { fullContent, fullRecords, hash, header, MiB, some } from '../blackbox/backup-streams.js';
import { expectFailure, failureOf } from '../blackbox/calls.js';
import * as diff from '../blackbox/diff-v1.js';
import type { Backup } from '../blackbox/transfer-client.js';
import { startTransferHouse, type TransferHouse } from './transfer-house.js';

/** Every kind of bad stream: none leaves a trace in the store, and none is in the way of the next one. */

let at: TransferHouse;

beforeAll(async () => {
  at = await startTransferHouse();
});

afterAll(() => at?.stop());

describe.each(['a full', 'an increment'])('a bad push of %s', (kind) => {
  const isFull = kind === 'a full';
  const image = isFull ? 'bad-full' : 'bad-increment';
  let base: Backup;
  let before: Awaited<ReturnType<TransferHouse['state']>>;

  beforeAll(async () => {
    base = (await at.agent1.pushFull(image)).backup;
    before = await at.state();
  });

  const open = () => at.agent1.open({ image, baseId: isFull ? '' : base.id });

  it.each(badStreams.map((bad) => [bad.name, bad] as const))('that %s is refused', async (_, bad) => {
    const opened = await open();
    const step = at.agent1.send(bad.messages(opened.snaps, opened), bad.ending);
    if (bad.code === '') expect((await failureOf(step)).status).toBe(bad.status);
    else await expectFailure(step, bad.code, bad.status);
    // The client may hear of it before the receiver has tidied up.
    await at.expectUnchanged(before);
    await expectFailure(at.agent1.backup(opened.backupId), 'BACKUP_NOT_FOUND', 'NOT_FOUND');
  });

  it('is followed by a good one at once', async () => {
    const { transferId } = await open();
    await failureOf(at.agent1.send([header(transferId), { data: Buffer.from('nonsense') }]));
    const { backup } = await at.agent1.push(await open(), ...(isFull ? fullRecords() : [diff.data(MiB, some)]));
    const content = fullContent();
    if (!isFull) some.copy(content, MiB);
    expect(at.house.backup.sha256(backup.id)).toBe(hash(content));
    expect(await at.agent1.sha256OfPulled(backup.id)).toBe(hash(content));
    expect(at.house.backup.sha256(base.id)).toBe(hash(fullContent()));
  });
});
