import { dyingCeph } from '../fake-ceph/dying-ceph.js';
import { FakeCluster } from '../fake-ceph/fake-cluster.js';
import { fakeCeph } from '../fake-ceph/fake-ceph.js';
import type { World } from './world.js';

export const startFakeWorld = (): World => {
  const cluster = new FakeCluster('rbd', 'ec');
  cluster.addPool('secret', { permitted: false });
  cluster.addNamespace('rbd', 'ns');
  const ceph = fakeCeph(cluster);
  return {
    ceph,
    fsid: cluster.fsid,
    manyBytes: 4 * 1024 * 1024,
    write: async (image, offset, bytes) => cluster.write(image, offset, bytes),
    resize: async (image, sizeBytes) => cluster.resize(image, sizeBytes),
    sha256: async (image, snap) => cluster.sha256(image, snap),
    protect: async (image, snap) => cluster.setProtected(image, snap, true),
    unprotect: async (image, snap) => cluster.setProtected(image, snap, false),
    clone: async (parent, snap, child) => cluster.clone(parent, snap, child),
    flatten: async (image) => cluster.flatten(image),
    async whileInUse(image, use) {
      const close = cluster.watch(image);
      await use();
      close();
    },
    breakOffRemoval: async (image) => cluster.breakOffRemoval(image),
    trashedUntil: async (imageId) =>
      new Date(cluster.image({ pool: 'rbd', namespace: '', imageId }, 'look').trashedUntilMs),
    killChildren: async (verb) => cluster.trouble.killChildren(verb),
    async importAndDie(image, bytes, meanwhile) {
      const process = dyingCeph(ceph, { at: 3, when: 'before' });
      const sink = process.ceph.importDiff(image);
      await sink.write(bytes);
      await meanwhile();
      await sink.finish().catch(() => {});
    },
    stop: async () => {},
  };
};
