import { createRbdCli } from '@rbdferry/core/ceph/rbd-cli.js';
import { startCluster } from '../ceph/cluster.js';
import { imageNames } from '../harness/look.js';
import { rbdStoreOn, storePool } from '../recipes/store.js';
import { storeTransfersSuite } from './store-transfers.suite.js';
import type { StoreWorld } from './store-world.js';

/** The same on real Ceph, as far as it is about transfers: removals are in test/e2e, and all of it is on a cluster in memory as well. */
const startRbdStoreWorld = async (): Promise<StoreWorld> => {
  const cluster = await startCluster({ name: 'storecontract', pools: [storePool.pool] });
  const user = 'receiver';
  const ceph = createRbdCli({ conf: cluster.confPath, user, keyring: cluster.users[user].keyringPath });
  const json = async (...args: string[]): Promise<unknown> =>
    JSON.parse((await cluster.rbd([...args, '--format', 'json'])).stdout || '{}');
  const images = () => imageNames(cluster, storePool.pool);
  return {
    open: () => rbdStoreOn(ceph),
    async contents() {
      const lines = ((await json('ls', '-l', storePool.pool)) as { image: string; snapshot?: string }[]).map(
        ({ image, snapshot }) => `${image}@${snapshot}`,
      );
      for (const image of await images()) {
        const metadata = (await json('image-meta', 'list', `${storePool.pool}/${image}`)) as object;
        lines.push(...Object.entries(metadata).map(([key, value]) => `${image} ${key} ${value}`));
      }
      return lines.filter((line) => !line.includes(' rbdferry.usage.')).toSorted();
    },
    async writers() {
      const addresses: string[] = [];
      for (const image of await images())
        addresses.push(...(await ceph.watchers({ ...storePool, image })).map((watcher) => JSON.stringify(watcher)));
      return addresses;
    },
    stop: () => cluster.stop(),
  };
};

storeTransfersSuite(startRbdStoreWorld, ['an increment']);
