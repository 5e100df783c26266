import type { CephPort } from '@rbdferry/core/ceph/port.js';
import { Door, type FakeCephOptions } from './door.js';
import { exportCalls } from './export-diff.js';
import type { FakeCluster } from './fake-cluster.js';
import { imageCalls } from './images.js';
import { importCalls } from './import-diff.js';
import { metadataCalls } from './metadata.js';
import { snapshotCalls } from './snapshots.js';
import { trashCalls } from './trash.js';

/**
 * A client of a {@link FakeCluster}. It passes the contract of the adapter over `rbd` (test/contract); what it does otherwise is said there.
 */
export const fakeCeph = (cluster: FakeCluster, options: FakeCephOptions = {}): CephPort => {
  const door = new Door(cluster, options);
  return {
    fsid: async ({ signal } = {}) => {
      await cluster.trouble.pass('fsid', "ask for the cluster's fsid", signal);
      return cluster.fsid;
    },
    ...imageCalls(door),
    ...snapshotCalls(door),
    ...metadataCalls(door),
    ...trashCalls(door),
    ...exportCalls(door),
    ...importCalls(door),
  };
};
