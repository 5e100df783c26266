import type { ByteSink, CephPort } from '@rbdferry/core/ceph/port.js';
import { fakeCeph } from '../fake-ceph/fake-ceph.js';
import { FakeCluster } from '../fake-ceph/fake-cluster.js';
import { intercept } from '../fake-ceph/intercept.js';
import { rbdStoreOn, storePool } from '../recipes/store.js';
import type { MortalStoreWorld } from './store-world.js';

/** Stores of RBD images on a cluster in memory. */
export const startFakeRbdStoreWorld = (): MortalStoreWorld => {
  const cluster = new FakeCluster(storePool.pool);
  const clock = { nowMs: Date.UTC(2026, 10, 27, 13) };
  const storeOn = (ceph: CephPort) => rbdStoreOn(ceph, undefined, () => clock.nowMs);
  return {
    clock,
    open: () => storeOn(fakeCeph(cluster)),
    openMortal() {
      let isDead = false;
      const sinks = new Set<ByteSink>();
      const ceph = intercept(fakeCeph(cluster), {
        opened: (sink) => sinks.add(sink),
        async around(_, run) {
          if (isDead) throw new Error('this receiver has died');
          return run();
        },
      });
      return {
        store: storeOn(ceph),
        async die() {
          isDead = true;
          for (const sink of sinks) await sink.abort();
          cluster.expireWatches();
        },
      };
    },
    contents: async () => cluster.everything().filter((line) => !line.includes(' rbdferry.usage.')),
    writers: async () => cluster.allWatchers(),
    stop: async () => {},
  };
};
