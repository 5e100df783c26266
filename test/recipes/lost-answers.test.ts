import type { BackupIdParts } from '@rbdferry/core/model/backup-id.js';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { fakeCeph } from '../fake-ceph/fake-ceph.js';
import { FakeCluster } from '../fake-ceph/fake-cluster.js';
import { lostCall } from '../fake-ceph/lost-call.js';
import { settled } from './settled.js';
import { makeSource, type Source } from './source.js';
import { listed, partsOf, pushTo, rbdStoreOn, sha256OfRestored, storePool } from './store.js';

/**
 * One call gets no answer, whichever it is, carried out or not, and the receiver lives on: it puts that right by itself, and does not have to be
 * started again for it.
 */
let source: Source;

beforeAll(async () => {
  source = await makeSource();
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
});

afterAll(() => {
  vi.useRealTimers();
});

/** Without what may be measured later. */
const everything = (cluster: FakeCluster): string[] =>
  cluster.everything().filter((line) => !line.includes(' rbdferry.usage.'));

const fill = async (cluster: FakeCluster, count: number): Promise<BackupIdParts | null> => {
  const store = rbdStoreOn(fakeCeph(cluster));
  let base: BackupIdParts | null = null;
  for (const snap of source.snaps.slice(0, count)) base = partsOf((await pushTo(store, { source, snap, base })).id);
  await store.close();
  return base;
};

describe.each([
  { kind: 'a full', earlier: 0 },
  { kind: 'an increment', earlier: 1 },
] as const)('in the middle of $kind', ({ earlier }) => {
  const push = async (loss: Parameters<typeof lostCall>[1]) => {
    const cluster = new FakeCluster(storePool.pool);
    const base = await fill(cluster, earlier);
    const port = lostCall(fakeCeph(cluster), loss);
    const store = rbdStoreOn(port.ceph);
    const wasTold = await pushTo(store, { source, snap: source.snaps[earlier], base }).then(
      () => true,
      () => false,
    );
    // What could not be done at once is tried again, later and later.
    for (let minutes = 0; minutes < 5; minutes += 1) {
      await vi.advanceTimersByTimeAsync(60_000);
      await settled(port.calls);
    }
    return { cluster, store, port, wasTold };
  };

  it('leaves the backup or nothing, and the next one is right', async () => {
    const { port, store: counted } = await push({ at: Number.POSITIVE_INFINITY, when: 'before' });
    await counted.close();
    expect(port.calls.length).toBeGreaterThan(5);
    for (let at = 1; at <= port.calls.length; at += 1) {
      for (const when of ['before', 'after'] as const) {
        const lost = `${when} ${port.calls[at - 1]}`;
        const { cluster, store, wasTold } = await push({ at, when });
        const backups = await listed(store);
        const like = new FakeCluster(storePool.pool);
        await fill(like, backups.length);
        expect({ lost, there: everything(cluster) }).toEqual({ lost, there: everything(like) });
        if (wasTold) expect({ lost, count: backups.length }).toEqual({ lost, count: earlier + 1 });
        const newest = backups.at(-1);
        const base = newest === undefined ? null : partsOf(newest.id);
        const { id } = await pushTo(store, { source, snap: source.snaps[2], base });
        expect(await sha256OfRestored(store, partsOf(id))).toBe(source.cluster.sha256(source.image, source.snaps[2]));
        expect(cluster.allWatchers()).toEqual([]);
        await store.close();
      }
    }
  });
});
