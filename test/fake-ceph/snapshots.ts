import type { CephPort, Snapshot } from '@rbdferry/core/ceph/port.js';
import { formatImageSpec } from '@rbdferry/core/model/image-spec.js';
import { diffExtents } from './diff.js';
import type { Door } from './door.js';
import type { FakeSnapshot } from './fake-image.js';
import { named, namedSnap, refusal } from './refusal.js';

type SnapshotCalls = Pick<
  CephPort,
  'snapshots' | 'hiddenSnapshots' | 'clones' | 'headMayDiffer' | 'createSnapshot' | 'removeSnapshot' | 'rollback'
>;

export const listed = ({ id, name, sizeBytes, protected: isProtected }: FakeSnapshot): Snapshot => ({
  id,
  name,
  sizeBytes,
  protected: isProtected,
});

export const snapshotCalls = (door: Door): SnapshotCalls => {
  const { cluster } = door;
  return {
    snapshots: (ref, options) =>
      door.pass({ call: 'snapshots', what: `list the snapshots of ${named(ref)}`, where: ref }, options, (_, what) =>
        cluster.image(ref, what).userSnapshots.map((each) => listed(each)),
      ),

    hiddenSnapshots: (spec, options) => {
      const what = `list all snapshots of ${named(spec)}`;
      return door.pass({ call: 'hiddenSnapshots', what, where: spec }, options, () =>
        cluster
          .image(spec, what)
          .snapshots.filter(({ hidden }) => hidden)
          .map(({ name }) => `"${name}", which was removed but has a clone`),
      );
    },

    clones: (spec, snap, options) => {
      const what = `list the clones of ${namedSnap(spec, snap)}`;
      return door.pass({ call: 'clones', what, where: spec }, options, () =>
        cluster
          .clonesOf(cluster.snapshot(spec, snap, what).snapshot)
          .map(({ place, name }) => formatImageSpec({ ...place, image: name })),
      );
    },

    headMayDiffer: (spec, snap, options) => {
      const what = `compare ${named(spec)} with its snapshot "${snap}"`;
      return door.pass({ call: 'headMayDiffer', what, where: spec }, options, () => {
        const { image, snapshot } = cluster.snapshot(spec, snap, what);
        return diffExtents(image, snapshot, { sizeBytes: image.sizeBytes, content: image.head }).length > 0;
      });
    },

    createSnapshot: (spec, snap, options) => {
      const what = `create snapshot ${namedSnap(spec, snap)}`;
      return door.pass({ call: 'createSnapshot', what, where: spec }, options, () => {
        const image = cluster.image(spec, what);
        door.mayWrite(what, spec.pool);
        cluster.noteChange(image, what);
        cluster.addSnapshotTo(image, snap, what);
      });
    },

    removeSnapshot: (ref, snap, options) => {
      const what = `remove snapshot ${namedSnap(ref, snap)}`;
      return door.pass({ call: 'removeSnapshot', what, where: ref }, options, () => {
        const image = cluster.image(ref, what);
        const snapshot = image.snapshot(snap);
        if (snapshot === undefined) return false;
        door.mayRemove(what);
        if (snapshot.protected) throw refusal('CEPH_FAILED', what, `snapshot '${snap}' is protected from removal`);
        cluster.noteChange(image, what);
        if (cluster.clonesOf(snapshot).length > 0) snapshot.hidden = true;
        else image.dropSnapshot(snapshot);
        cluster.trimHidden();
        return true;
      });
    },

    rollback: (spec, snap, options) => {
      const what = `roll back to ${namedSnap(spec, snap)}`;
      return door.pass({ call: 'rollback', what, where: spec }, options, () => {
        const { image, snapshot } = cluster.snapshot(spec, snap, what);
        door.mayWrite(what, spec.pool, image.layout.dataPool);
        cluster.noteChange(image, what);
        image.rollBack(snapshot);
      });
    },
  };
};
