import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { chainOf, header, imageBytes, snapOf } from '../blackbox/backup-streams.js';
import { expectFailure } from '../blackbox/calls.js';
import { randomBytes } from '../ceph/image-content.js';
import type { TransferClient } from '../blackbox/transfer-client.js';
import { pool, startTransferHouse, type TransferHouse } from './transfer-house.js';

/** What a receiver tells of its stores: what backups added, and what the older tool left there. */

let at: TransferHouse;
let agent1: TransferClient;

beforeAll(async () => {
  at = await startTransferHouse();
  ({ agent1 } = at);
});

afterAll(() => at?.stop());

it('what a backup added is told while a push holds the chain, and written down only afterwards', async () => {
  // Nothing is measured in the background while this one is open.
  const other = await agent1.open({ image: 'measured-other' });
  const { backup } = await agent1.pushFull('measured');
  const usage = async (): Promise<string[]> => {
    const answers = await agent1.caller.all<{ usage: { backups: { addedBytes: string }[] } }>('getStoreUsage', {
      store: pool,
      image: 'measured',
    });
    return answers.flatMap(({ usage }) => usage.backups.map(({ addedBytes }) => addedBytes));
  };
  const written = (): string[] =>
    at.house.backup.cluster.everything().filter((line) => line.includes(' rbdferry.usage.'));
  const held = await agent1.open({ image: 'measured', baseId: backup.id });
  const told = await usage();
  expect(told).toEqual([String(await at.house.backup.addedBytes(backup.id))]);
  expect(written()).toEqual([]);
  for (const { transferId } of [held, other])
    await expectFailure(agent1.send([header(transferId)]), 'STREAM_TRUNCATED', 'DATA_LOSS');
  expect(await usage()).toEqual(told);
  expect(written()).toEqual([`${pool}/${chainOf(backup.id)} rbdferry.usage.${snapOf(backup.id)}`]);
  await agent1.deleteBackup(backup.id);
});

describe('a chain of the older tool', () => {
  const chain = 'old.2015-07-07.10:40:39.458883.bkp.image';
  const snaps = ['2015-07-07.10:40:43.707889.snap', '2015-07-08.10:40:43.707889.snap'];
  const image = `${pool}/${chain}`;

  beforeAll(async () => {
    const { backup } = at.house;
    await backup.create(image, { sizeBytes: BigInt(imageBytes) });
    for (const [index, snap] of snaps.entries()) {
      backup.write(image, index * 1_000_000, randomBytes(snap, 100_000));
      backup.addSnapshot(`${image}@${snap}`);
    }
    // What else may be found there: an operator's own snapshot, and a date that never was.
    for (const other of ['daily', '2015-99-99.99:99:99.000000.snap']) backup.addSnapshot(`${image}@${other}`);
    await agent1.pushFull('beside');
    await at.agent2.pushFull('beside');
  });

  it('is listed with what its names tell, to every client, beside the other chains', async () => {
    for (const client of [agent1, at.agent2]) {
      const chains = await client.chains();
      expect(chains.map(({ name }) => name.slice(0, name.indexOf('.')))).toEqual(['beside', 'old']);
      const found = chains.find(({ name }) => name === chain);
      expect(found?.legacy).toBe(true);
      expect(found?.backups.slice(0, 2)).toMatchObject([
        { id: `${image}@${snaps[0]}`, kind: 'BACKUP_KIND_FULL', source: null, client: '', sizeBytes: `${imageBytes}` },
        { id: `${image}@${snaps[1]}`, kind: 'BACKUP_KIND_INCREMENTAL', source: null, client: '' },
      ]);
      // Both kinds of chain are in the listing of one image by its name as well.
      expect((await client.chains('old')).map(({ name }) => name)).toEqual([chain]);
    }
  });

  it('is read, and never built on', async () => {
    const before = await at.state();
    for (const snap of snaps) {
      const id = `${image}@${snap}`;
      expect(await agent1.sha256OfPulled(id)).toBe(at.house.backup.sha256(id));
      await expectFailure(agent1.open({ image: 'old', baseId: id }), 'NO_COMMON_SNAPSHOT', 'FAILED_PRECONDITION');
    }
    await at.expectUnchanged(before);
  });
});
