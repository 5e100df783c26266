import { toFerryError } from '@rbdferry/core/errors/ferry-error.js';
import type { BackupIdParts } from '@rbdferry/core/model/backup-id.js';
import type { Removed, Store } from '@rbdferry/receiver/store/port.js';
import { beforeAll, describe, expect, it } from 'vitest';
import { dyingCeph } from '../fake-ceph/dying-ceph.js';
import { fakeCeph } from '../fake-ceph/fake-ceph.js';
import { FakeCluster } from '../fake-ceph/fake-cluster.js';
import { settled } from './settled.js';
import { makeSource, type Source } from './source.js';
import { listed, partsOf, pushTo, rbdStoreOn, sha256OfRestored, storePool } from './store.js';

/** Deletion in a store of RBD images: what dies in the middle is finished, what cannot go stays and is told, nothing is left over. */
let source: Source;

beforeAll(async () => {
  source = await makeSource();
});

const fill = async (cluster: FakeCluster): Promise<BackupIdParts[]> => {
  const store = rbdStoreOn(fakeCeph(cluster));
  const made: BackupIdParts[] = [];
  for (const snap of source.snaps) {
    made.push(partsOf((await pushTo(store, { source, snap, base: made.at(-1) ?? null })).id));
  }
  await store.close();
  return made;
};

const options = { dryRun: false, client: 'agent1', mayRemove: () => true };

/** What is listed, each of it whole. */
const listedSnaps = async (store: Store): Promise<string[]> => {
  const backups = await listed(store);
  for (const { id, snap } of backups)
    expect(await sha256OfRestored(store, partsOf(id))).toBe(source.cluster.sha256(source.image, snap));
  return backups.map(({ snap }) => snap);
};

/** Images, snapshots and facts; not what was measured. */
const everything = (cluster: FakeCluster): string[] =>
  cluster.everything().filter((line) => !line.includes(' rbdferry.usage.'));

const chainImage = ({ chain }: BackupIdParts) => ({ ...storePool, image: chain });

type Deletion = (store: Store, made: readonly BackupIdParts[]) => Promise<Removed>;

const at = (made: readonly BackupIdParts[], index: number): BackupIdParts => {
  const found = made[index];
  if (found === undefined) throw new Error(`no backup ${index}`);
  return found;
};

const deletions: [string, { before?: number[]; deletion: Deletion; left: number[] }][] = [
  ['the first backup', { deletion: (store, made) => store.remove(at(made, 0), options), left: [1, 2] }],
  ['the newest backup', { deletion: (store, made) => store.remove(at(made, 2), options), left: [0, 1] }],
  [
    'the last backup there is',
    { before: [0, 1], deletion: (store, made) => store.remove(at(made, 2), options), left: [] },
  ],
  ['a whole chain', { deletion: (store, made) => store.removeChain(at(made, 0).chain, options), left: [] }],
];

describe.each(deletions)('%s', (_, { before = [], deletion, left }) => {
  const prepared = async (): Promise<{ cluster: FakeCluster; made: BackupIdParts[] }> => {
    const cluster = new FakeCluster(storePool.pool);
    const made = await fill(cluster);
    const store = rbdStoreOn(fakeCeph(cluster));
    // A full pool takes removals only where this has made room for them.
    await store.recover({});
    for (const index of before) await store.remove(at(made, index), options);
    await store.close();
    return { cluster, made };
  };

  const attempt = async (death: { at: number; when: 'before' | 'after' }, isFull: boolean) => {
    const { cluster, made } = await prepared();
    if (isFull) cluster.setFull(storePool.pool);
    const receiver = dyingCeph(fakeCeph(cluster), death);
    const store = rbdStoreOn(receiver.ceph);
    const removed = await deletion(store, made).catch(() => null);
    await settled(receiver.calls);
    await store.close();
    return { cluster, made, receiver, removed };
  };

  const snapsLeft = () => left.map((index) => source.snaps[index]);

  it.each([false, true])('is whole or not begun, wherever the receiver dies; the pool is full: %s', async (isFull) => {
    const {
      receiver: counted,
      removed: whole,
      cluster: clean,
    } = await attempt({ at: Infinity, when: 'before' }, isFull);
    expect(whole?.kept).toEqual([]);
    clean.setFull(storePool.pool, false);
    await rbdStoreOn(fakeCeph(clean)).recover({});
    for (const when of ['before', 'after'] as const) {
      for (let call = 1; call <= counted.calls.length; call += 1) {
        const { cluster, made, removed } = await attempt({ at: call, when }, isFull);
        const where = `${when} ${counted.calls[call - 1]}`;
        cluster.expireWatches();
        const next = rbdStoreOn(fakeCeph(cluster));
        await next.recover({});
        const now = await listedSnaps(next);
        if (removed?.kept.length === 0) expect(now, where).toEqual(snapsLeft());
        // The agent's own record of the deletion asks again, as it does when it had no answer.
        await deletion(next, made).catch((thrown: unknown) => {
          expect(toFerryError(thrown).code, where).toBe('BACKUP_NOT_FOUND');
        });
        expect(await listedSnaps(next), where).toEqual(snapsLeft());
        cluster.setFull(storePool.pool, false);
        await next.recover({});
        await next.close();
        expect(everything(cluster), where).toEqual(everything(clean));
      }
    }
  });
});

it('that was written down is finished by the next life alone', async () => {
  const cluster = new FakeCluster(storePool.pool);
  const made = await fill(cluster);
  const counting = new FakeCluster(storePool.pool);
  await fill(counting);
  const counted = dyingCeph(fakeCeph(counting), { at: Infinity, when: 'before' });
  await rbdStoreOn(counted.ceph).removeChain(at(made, 0).chain, options);
  const noted = counted.calls.findIndex((call) => call.includes('setMetadata')) + 1;
  expect(noted).toBeGreaterThan(0);
  const dying = dyingCeph(fakeCeph(cluster), { at: noted, when: 'after' });
  await expect(rbdStoreOn(dying.ceph).removeChain(at(made, 0).chain, options)).rejects.toThrow();
  const next = rbdStoreOn(fakeCeph(cluster));
  expect(await next.recover({})).toEqual([at(made, 0).chain]);
  expect(cluster.everything()).toEqual([]);
  await next.close();
});

it('leaves what a clone needs, with its reason, and takes it when the clone is gone', async () => {
  const cluster = new FakeCluster(storePool.pool);
  const made = await fill(cluster);
  const image = chainImage(at(made, 0));
  cluster.clone(image, at(made, 1).snap, { ...storePool, image: 'look' });
  const store = rbdStoreOn(fakeCeph(cluster));
  const { backupIds, kept, chainRemoved } = await store.removeChain(at(made, 0).chain, options);
  expect(backupIds).toHaveLength(2);
  expect(chainRemoved).toBe(false);
  expect(kept.map(({ reason }) => [reason.code, reason.message.includes('look')])).toEqual([['BACKUP_IN_USE', true]]);
  expect(await listedSnaps(store)).toEqual([source.snaps[1]]);
  await store.close();
});

it('takes a leftover of an earlier release: an image of ours without any snapshot', async () => {
  const cluster = new FakeCluster(storePool.pool);
  const made = await fill(cluster);
  for (const { snap } of made) cluster.removeSnapshot(chainImage(at(made, 0)), snap);
  const store = rbdStoreOn(fakeCeph(cluster));
  expect(await store.recover({})).toEqual([at(made, 0).chain]);
  expect(cluster.everything()).toEqual([]);
  await store.close();
});

it('that a death broke off anywhere leaves each backup either held or gone', async () => {
  const asAgent1 = { client: 'agent1', maySee: () => true };
  const broken = async (death: number) => {
    const cluster = new FakeCluster(storePool.pool);
    const made = await fill(cluster);
    const receiver = dyingCeph(fakeCeph(cluster), { at: death, when: 'after' });
    const store = rbdStoreOn(receiver.ceph);
    await store.removeChain(at(made, 0).chain, options).catch(() => {});
    await settled(receiver.calls);
    await store.close();
    cluster.expireWatches();
    return { cluster, made, calls: receiver.calls };
  };
  const { calls } = await broken(Infinity);
  const outcomes = new Set<string>();
  for (let death = 1; death <= calls.length; death += 1) {
    const { cluster, made } = await broken(death);
    const next = rbdStoreOn(fakeCeph(cluster));
    const outcome = await next.setHold(at(made, 2), { untilMs: null, reason: '' }, asAgent1).then(
      () => 'held',
      (thrown: unknown) => toFerryError(thrown).code,
    );
    outcomes.add(outcome);
    await next.recover({});
    const left = await listedSnaps(next);
    if (outcome === 'held') expect(left, calls[death - 1]).toContain(source.snaps[2]);
    else expect(cluster.everything(), calls[death - 1]).toEqual([]);
    await next.close();
  }
  expect(outcomes).toEqual(new Set(['held', 'BACKUP_NOT_FOUND']));
});

it('to the trash does not begin while something of the chain is held, and says so', async () => {
  const cluster = new FakeCluster(storePool.pool);
  const made = await fill(cluster);
  const store = rbdStoreOn(fakeCeph(cluster), undefined, undefined, 86_400_000);
  const asAgent1 = { client: 'agent1', maySee: () => true };
  await store.setHold(at(made, 1), { untilMs: null, reason: 'audit' }, asAgent1);
  for (const dryRun of [true, false]) {
    await expect(store.removeChain(at(made, 0).chain, { ...options, dryRun })).rejects.toMatchObject({
      code: 'BACKUP_HELD',
      message: expect.stringContaining(`${at(made, 1).snap} stays: it is held ("audit")`) as string,
    });
  }
  expect(await listedSnaps(store)).toEqual(source.snaps);
  await store.setHold(at(made, 1), null, asAgent1);
  expect(await store.removeChain(at(made, 0).chain, options)).toMatchObject({ chainRemoved: true, kept: [] });
  await store.close();
});
