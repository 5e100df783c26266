import type { ByteSink } from '@rbdferry/core/ceph/port.js';
import { fakeCeph } from '../fake-ceph/fake-ceph.js';
import { FakeCluster } from '../fake-ceph/fake-cluster.js';
import { intercept } from '../fake-ceph/intercept.js';
import { rbdStoreOn, storePool } from '../recipes/store.js';
import type { MortalStoreWorld } from './store-world.js';

/** Stores of RBD images on a cluster in memory. */
export const startFakeRbdStoreWorld = (): MortalStoreWorld => {
  const cluster = new FakeCluster(storePool.pool);
  return {
    open: () => rbdStoreOn(fakeCeph(cluster)),
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
        store: rbdStoreOn(ceph),
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
