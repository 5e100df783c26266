import { OpenTransfers } from '@rbdferry/receiver/transfer/open-transfers.js';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { fakeCeph } from '../fake-ceph/fake-ceph.js';
import { FakeCluster } from '../fake-ceph/fake-cluster.js';
import { factsOf, makeSource } from './source.js';
import { listed, partsOf, pushTo, rbdStoreOn, storePool } from './store.js';

/** A push that is opened and never sent. */

afterEach(() => vi.useRealTimers());

describe.each(['a full', 'an increment'])('%s that is opened and never sent', (kind) => {
  it('goes after a minute, and its chain is free again', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    const source = await makeSource();
    const cluster = new FakeCluster(storePool.pool);
    const store = rbdStoreOn(fakeCeph(cluster));
    const first = partsOf((await pushTo(store, { source, snap: source.snaps[0], base: null })).id);
    await vi.waitFor(() => expect(cluster.everything().join('\n')).toContain('rbdferry.usage.'));
    const before = cluster.fingerprint();

    const base = kind === 'a full' ? null : first;
    const intent = { source: await factsOf(source, source.snaps[1]), snap: source.snaps[1], base, client: 'agent1' };
    const open = new OpenTransfers();
    const push = await store.open(intent, {});
    const id = open.add({ client: 'agent1', intent, push });
    const opened = cluster.fingerprint();
    expect(opened).not.toBe(before);
    vi.advanceTimersByTime(59_999);
    await new Promise(setImmediate);
    expect(cluster.fingerprint()).toBe(opened);
    vi.advanceTimersByTime(1);
    await vi.waitFor(() => expect(cluster.fingerprint()).toBe(before));
    expect(() => open.take(id, 'agent1')).toThrow('there is no open transfer');

    await pushTo(store, { source, snap: source.snaps[1], base });
    expect(await listed(store)).toHaveLength(2);
    await store.close();
  });
});
