import type { BackupIdParts, SnapName } from '@rbdferry/core/model/backup-id.js';
import type { Store } from '@rbdferry/receiver/store/port.js';
import { beforeAll, describe, expect, it } from 'vitest';
import { dyingCeph } from '../fake-ceph/dying-ceph.js';
import { fakeCeph } from '../fake-ceph/fake-ceph.js';
import { FakeCluster } from '../fake-ceph/fake-cluster.js';
import { watchedCeph } from '../fake-ceph/watched-ceph.js';
import { chainsOf } from '../store-contract/looks.js';
import { settled } from './settled.js';
import { diffOf, factsOf, makeSource, type Source } from './source.js';
import { listed, partsOf, pushTo, rbdStoreOn, sha256OfRestored, storePool } from './store.js';

/** What others do to a store of RBD images meanwhile: orphans of a dead receiver, operators, guests that hold on. */
let source: Source;
let snaps: readonly [SnapName, SnapName, SnapName];

beforeAll(async () => {
  source = await makeSource();
  ({ snaps } = source);
});

const imageOf = ({ chain }: BackupIdParts) => ({ ...storePool, image: chain });
const idsListed = async (store: Store) => (await listed(store)).map(({ snap }) => snap);

/** What an `import-diff` does that was started by a receiver which died, and which comes up only now. */
const openedByTheDead = async (cluster: FakeCluster, base: BackupIdParts): Promise<void> => {
  const sink = fakeCeph(cluster).importDiff(imageOf(base));
  for (const chunk of await diffOf(source, { snap: snaps[2], fromSnap: snaps[0] })) await sink.write(chunk);
  await sink.finish();
};

const firstBackup = async (cluster: FakeCluster): Promise<BackupIdParts> => {
  const store = rbdStoreOn(fakeCeph(cluster));
  const made = partsOf((await pushTo(store, { source, snap: snaps[0], base: null })).id);
  await store.close();
  return made;
};

/** An increment whose receiver dies with the call that writes the facts. */
const dieAtFacts = async (cluster: FakeCluster, base: BackupIdParts, when: 'before' | 'after'): Promise<void> => {
  const counting = new FakeCluster(storePool.pool);
  const like = await firstBackup(counting);
  const counted = dyingCeph(fakeCeph(counting), { at: Infinity, when: 'before' });
  const countedStore = rbdStoreOn(counted.ceph);
  await pushTo(countedStore, { source, snap: snaps[1], base: like });
  await countedStore.close();
  const at = counted.calls.findIndex((call) => call.includes('setMetadata') && call.includes('rbdferry.backup.')) + 1;
  expect(at).toBeGreaterThan(0);
  const receiver = dyingCeph(fakeCeph(cluster), { at, when });
  const store = rbdStoreOn(receiver.ceph);
  await expect(pushTo(store, { source, snap: snaps[1], base })).rejects.toThrow();
  await settled(receiver.calls);
  await store.close();
};

describe('a backup whose receiver died at the commit', () => {
  it('is not listed before it is decided, and whoever asks for it makes it so', async () => {
    const cluster = new FakeCluster(storePool.pool);
    const base = await firstBackup(cluster);
    await dieAtFacts(cluster, base, 'after');
    const next = rbdStoreOn(fakeCeph(cluster));
    expect(await idsListed(next)).toEqual([snaps[0]]);
    expect(await next.backup({ ...base, snap: snaps[1] }, {})).toMatchObject({ snap: snaps[1] });
    expect(await idsListed(next)).toEqual([snaps[0], snaps[1]]);
    expect(await sha256OfRestored(next, { ...base, snap: snaps[1] })).toBe(
      source.cluster.sha256(source.image, snaps[1]),
    );
    await next.close();
  });

  it('is none once that was decided, though its facts come late', async () => {
    const cluster = new FakeCluster(storePool.pool);
    const base = await firstBackup(cluster);
    await dieAtFacts(cluster, base, 'before');
    const next = rbdStoreOn(fakeCeph(cluster));
    await expect(next.backup({ ...base, snap: snaps[1] }, {})).rejects.toMatchObject({ code: 'BACKUP_NOT_FOUND' });
    const key = `rbdferry.backup.${snaps[0]}`;
    const facts = (await fakeCeph(cluster).metadata(imageOf(base))).get(key) ?? '';
    await fakeCeph(cluster).setMetadata(imageOf(base), `rbdferry.backup.${snaps[1]}`, facts);
    const later = rbdStoreOn(fakeCeph(cluster));
    expect(await idsListed(later)).toEqual([snaps[0]]);
    await later.recover({});
    expect((await fakeCeph(cluster).metadata(imageOf(base))).has(`rbdferry.backup.${snaps[1]}`)).toBe(false);
    await pushTo(later, { source, snap: snaps[2], base });
    expect(await idsListed(later)).toEqual([snaps[0], snaps[2]]);
    await later.close();
  });
});

it('an increment lands on its base though an operator wrote into the chain', async () => {
  const cluster = new FakeCluster(storePool.pool);
  const base = await firstBackup(cluster);
  cluster.write(imageOf(base), 100_000, new Uint8Array(5_000).fill(7));
  const store = rbdStoreOn(fakeCeph(cluster), ['layering', 'exclusive-lock', 'object-map', 'fast-diff']);
  const made = partsOf((await pushTo(store, { source, snap: snaps[1], base })).id);
  expect(await sha256OfRestored(store, made)).toBe(source.cluster.sha256(source.image, snaps[1]));
  await store.close();
});

describe('what was seen last of a chain is not asked for again, and', () => {
  const fastDiff = ['layering', 'exclusive-lock', 'object-map', 'fast-diff'];
  const plain = ['layering', 'exclusive-lock'];

  /** A store that has listed its one backup, as it does when a sender plans the next one. */
  const planned = async (features: string[]) => {
    const cluster = new FakeCluster(storePool.pool);
    const base = await firstBackup(cluster);
    const watched = watchedCeph(fakeCeph(cluster, { chunkBytes: 8_192 }));
    const store = rbdStoreOn(watched.ceph, features);
    expect(await chainsOf(store, 'vm')).toHaveLength(1);
    return { cluster, base, store, calls: watched.calls };
  };
  const open = async (store: Store, base: BackupIdParts) =>
    store.open({ source: await factsOf(source, snaps[1]), snap: snaps[1], base, client: 'agent1' }, {});

  it.each([fastDiff, plain])(
    'an increment on a base that was removed by hand changes nothing (%#)',
    async (...features) => {
      const { cluster, base, store } = await planned(features);
      cluster.addSnapshot(imageOf(base), 'mine');
      cluster.removeSnapshot(imageOf(base), base.snap);
      const before = cluster.everything().filter((line) => !line.includes('rbdferry.backup'));
      await expect(open(store, base)).rejects.toMatchObject({ code: 'BACKUP_NOT_FOUND' });
      expect(cluster.everything()).toEqual(before);
      await store.close();
    },
  );

  it.each([fastDiff, plain])(
    'an increment on a chain that was removed by hand changes nothing (%#)',
    async (...features) => {
      const { cluster, base, store } = await planned(features);
      cluster.removeSnapshot(imageOf(base), base.snap);
      await fakeCeph(cluster).remove(imageOf(base));
      await expect(open(store, base)).rejects.toMatchObject({ code: 'BACKUP_NOT_FOUND' });
      expect(cluster.everything()).toEqual([]);
      await store.close();
    },
  );

  it('an increment lands on its base though a command of a dead receiver has written since', async () => {
    const { cluster, base, store, calls } = await planned(fastDiff);
    await openedByTheDead(cluster, base);
    const made = partsOf((await pushTo(store, { source, snap: snaps[1], base })).id);
    expect(calls.some(({ name }) => name === 'rollback')).toBe(true);
    expect(await sha256OfRestored(store, made)).toBe(source.cluster.sha256(source.image, snaps[1]));
    expect(await idsListed(store)).toEqual([snaps[0], snaps[1]]);
    await store.close();
  });

  it('nobody is refused by it', async () => {
    const { cluster, base, store } = await planned(fastDiff);
    const elsewhere = rbdStoreOn(fakeCeph(cluster), fastDiff);
    const second = partsOf((await pushTo(elsewhere, { source, snap: snaps[1], base })).id);
    await elsewhere.close();
    const push = await store.open(
      { source: await factsOf(source, snaps[2]), snap: snaps[2], base: second, client: 'agent1' },
      {},
    );
    await push.discard();
    expect(await sha256OfRestored(store, second)).toBe(source.cluster.sha256(source.image, snaps[1]));
    await store.close();
  });

  it.each([
    ['is gone', 'BACKUP_NOT_FOUND', () => {}],
    [
      'is another one',
      'SOURCE_CHANGED',
      (cluster: FakeCluster, id: BackupIdParts) => cluster.addSnapshot(imageOf(id), id.snap),
    ],
  ])('a backup that %s is not read as the one that was seen', async (_, code, then) => {
    const { cluster, base, store } = await planned(fastDiff);
    cluster.removeSnapshot(imageOf(base), base.snap);
    then(cluster, base);
    await expect(sha256OfRestored(store, base)).rejects.toMatchObject({ code });
    await store.close();
  });

  it('a backup that was removed here is neither read nor built on', async () => {
    const { base, store } = await planned(fastDiff);
    const second = partsOf((await pushTo(store, { source, snap: snaps[1], base })).id);
    await store.remove(base, { dryRun: false, client: 'agent1', mayRemove: () => true });
    await expect(store.read(base, {})).rejects.toMatchObject({ code: 'BACKUP_NOT_FOUND' });
    const third = { source: await factsOf(source, snaps[2]), snap: snaps[2], base, client: 'agent1' };
    await expect(store.open(third, {})).rejects.toMatchObject({ code: 'BACKUP_NOT_FOUND' });
    await (await store.open({ ...third, base: second }, {})).discard();
    await store.close();
  });
});

it('two transfers into one chain go one after the other, and both are right', async () => {
  const cluster = new FakeCluster(storePool.pool);
  const base = await firstBackup(cluster);
  const store = rbdStoreOn(fakeCeph(cluster, { chunkBytes: 8_192 }));
  await Promise.all([snaps[1], snaps[2]].map((snap) => pushTo(store, { source, snap, base })));
  expect(cluster.overlaps).toEqual([]);
  const all = await listed(store);
  expect(all).toHaveLength(3);
  for (const { id, snap } of all)
    expect(await sha256OfRestored(store, partsOf(id))).toBe(source.cluster.sha256(source.image, snap));
  await store.close();
});

it('a backup that is removed while it is read is no whole stream', async () => {
  const cluster = new FakeCluster(storePool.pool);
  const base = await firstBackup(cluster);
  const store = rbdStoreOn(fakeCeph(cluster, { chunkBytes: 8_192 }));
  const pull = await store.read(base, {});
  const read = async (): Promise<void> => {
    let isFirst = true;
    for await (const _ of pull.stream) {
      if (isFirst) cluster.removeSnapshot(imageOf(base), base.snap);
      isFirst = false;
    }
  };
  await expect(read()).rejects.toMatchObject({ code: 'SOURCE_CHANGED' });
  pull.close();
  await store.close();
});
