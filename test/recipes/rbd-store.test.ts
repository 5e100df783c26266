import type { BackupIdParts } from '@rbdferry/core/model/backup-id.js';
import type { Store } from '@rbdferry/receiver/store/port.js';
import { beforeAll, describe, expect, it } from 'vitest';
import { dyingCeph } from '../fake-ceph/dying-ceph.js';
import type { FakeCephOptions } from '../fake-ceph/door.js';
import { fakeCeph } from '../fake-ceph/fake-ceph.js';
import { FakeCluster } from '../fake-ceph/fake-cluster.js';
import { settled } from './settled.js';
import { makeSource, type Source } from './source.js';
import { listed, partsOf, pushTo, rbdStoreOn, sha256OfRestored, storePool } from './store.js';

/** What a store of RBD images promises, with real streams from a source in memory, and a receiver that dies wherever it can. */
let source: Source;

beforeAll(async () => {
  source = await makeSource();
});

const newCluster = (): FakeCluster => new FakeCluster(storePool.pool);

/** Without what may be measured later. */
const everything = (cluster: FakeCluster): string[] =>
  cluster.everything().filter((line) => !line.includes(' rbdferry.usage.'));

/** Each backup that is listed gives back the content of its snapshot. Answers their snapshots. */
const checkListed = async (store: Store): Promise<string[]> => {
  const backups = await listed(store);
  for (const { id, snap } of backups)
    expect({ id, sha256: await sha256OfRestored(store, partsOf(id)) }).toEqual({
      id,
      sha256: source.cluster.sha256(source.image, snap),
    });
  return backups.map(({ snap }) => snap);
};

/** A store with these backups of the source, one after the other. Answers the newest one. */
const fill = async (cluster: FakeCluster, count: number): Promise<BackupIdParts | null> => {
  const store = rbdStoreOn(fakeCeph(cluster));
  let base: BackupIdParts | null = null;
  for (const snap of source.snaps.slice(0, count)) base = partsOf((await pushTo(store, { source, snap, base })).id);
  await store.close();
  return base;
};

it('gives back what was pushed, in full and as increments', async () => {
  const cluster = newCluster();
  await fill(cluster, 3);
  const store = rbdStoreOn(fakeCeph(cluster));
  expect(await checkListed(store)).toEqual(source.snaps);
  expect(await store.recover({})).toEqual([]);
  expect(cluster.allWatchers()).toEqual([]);
  await store.close();
});

describe.each([
  { kind: 'a full', earlier: 0 },
  { kind: 'an increment', earlier: 1 },
] as const)('a receiver that dies in the middle of $kind', ({ earlier }) => {
  /** Pushes the next backup with a receiver that may die in it. */
  const crash = async (cluster: FakeCluster, options: FakeCephOptions, death: Parameters<typeof dyingCeph>[1]) => {
    const base = await fill(cluster, earlier);
    const receiver = dyingCeph(fakeCeph(cluster, options), death);
    const store = rbdStoreOn(receiver.ceph);
    const snap = source.snaps[earlier];
    const wasTold = await pushTo(store, { source, snap, base }).then(
      () => true,
      () => false,
    );
    await settled(receiver.calls);
    await store.close();
    return { receiver, wasTold };
  };

  /** What the next receiver finds, and makes of it. */
  const check = async (cluster: FakeCluster, { wasTold }: { wasTold: boolean }): Promise<void> => {
    const store = rbdStoreOn(fakeCeph(cluster));
    await store.recover({});
    const snaps = await checkListed(store);
    const isThere = snaps.includes(source.snaps[earlier]);
    expect(snaps).toEqual(source.snaps.slice(0, earlier + (isThere ? 1 : 0)));
    if (wasTold) expect(isThere).toBe(true);
    const like = newCluster();
    await fill(like, snaps.length);
    expect(everything(cluster)).toEqual(everything(like));
    expect(cluster.allWatchers()).toEqual([]);
    expect(cluster.overlaps).toEqual([]);
    const newest = (await listed(store)).at(-1);
    const base = newest === undefined ? null : partsOf(newest.id);
    // The state says that the head is the newest backup, and the next increment relies on it.
    if (base !== null) {
      const image = { ...storePool, image: base.chain };
      expect(cluster.sha256(image)).toBe(cluster.sha256(image, base.snap));
    }
    await pushTo(store, { source, snap: source.snaps[2], base });
    expect(await checkListed(store)).toEqual([...snaps, source.snaps[2]]);
    await store.close();
  };

  /** {@link check}, and tells where the receiver died when something is wrong. */
  const checkAfter = async (
    cluster: FakeCluster,
    of: { wasTold: boolean; deaths: readonly string[] },
  ): Promise<void> => {
    await check(cluster, of).catch((cause: unknown) => {
      throw new Error(`died ${of.deaths.join(', and then ')}`, { cause });
    });
  };

  const deaths = async (options: FakeCephOptions) => {
    const { receiver } = await crash(newCluster(), options, { at: Number.POSITIVE_INFINITY, when: 'before' });
    return receiver.calls.flatMap((call, index) =>
      (['before', 'after'] as const).map((when) => ({ at: index + 1, when, call })),
    );
  };

  describe.each(['finish', 'end-record'] as const)('when import-diff commits at the %s', (importCommitsAt) => {
    const options: FakeCephOptions = { importCommitsAt, chunkBytes: 32_768 };

    it('leaves the backup or nothing, whichever call it was', async () => {
      const all = await deaths(options);
      expect(all.length).toBeGreaterThan(20);
      for (const death of all) {
        const cluster = newCluster();
        const { receiver, wasTold } = await crash(cluster, options, death);
        expect(receiver.isDead, `${death.when} ${death.call}`).toBe(true);
        await checkAfter(cluster, { wasTold, deaths: [`${death.when} ${death.call}`] });
      }
    });

    it('leaves the backup or nothing, also when the next one dies while it recovers', async () => {
      const seen = new Set<string>();
      for (const death of await deaths(options)) {
        for (let at = 1; ; at += 1) {
          const cluster = newCluster();
          const { wasTold } = await crash(cluster, options, death);
          const state = `${at} ${cluster.fingerprint()}`;
          if (seen.has(state)) break;
          seen.add(state);
          const next = dyingCeph(fakeCeph(cluster), { at, when: 'before' });
          const store = rbdStoreOn(next.ceph);
          await store.recover({}).catch(() => {});
          await store.close();
          const lastCall = `before ${next.calls.at(-1)}`;
          await checkAfter(cluster, { wasTold, deaths: [`${death.when} ${death.call}`, lastCall] });
          if (!next.isDead) break;
        }
      }
      expect(seen.size).toBeGreaterThan(20);
    });
  });
});
