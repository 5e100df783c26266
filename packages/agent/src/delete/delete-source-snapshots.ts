import { FerryError } from '@rbdferry/core/errors/ferry-error.js';
import { parseBackupId, type SnapName } from '@rbdferry/core/model/backup-id.js';
import type { ImageSpec } from '@rbdferry/core/model/image-spec.js';
import type { SourceView } from '@rbdferry/core/model/planner.js';
import { chainsOf, lookAtSource } from '../backup/look-at-source.js';
import { ownSnapshots } from '../backup/own-snapshots.js';
import { retire } from '../backup/retire.js';
import type { JobStore } from '../jobs/job-store.js';
import type { DeleteDeps } from './delete-backups.js';

type Deps = Pick<DeleteDeps, 'ceph' | 'receiver' | 'dryRun' | 'signal'> & {
  readonly jobs: Pick<JobStore, 'madeSnapshots'>;
};

/** Removes every snapshot that rbdferry has on a source image for this store. Answers their names. */
export const deleteSourceSnapshots = async (image: ImageSpec, store: string, deps: Deps): Promise<string[]> => {
  const source = await lookAtSource(deps.ceph, image, deps);
  const chains = await chainsOf(source, store, deps.receiver, deps);
  const snaps = new Set([
    ...ownSnapshots(source.view, chains, { store, receiver: deps.receiver.name, jobs: deps.jobs }),
    ...restoredSnaps(source.view, store),
  ]);
  const failures: string[] = [];
  if (!deps.dryRun) await retire(deps.ceph, image, [...snaps], (failure) => failures.push(failure));
  if (failures.length > 0) throw new FerryError('CEPH_FAILED', failures.join('; '));
  return [...snaps];
};

/** The snapshot that a restore left on the image, by the image's own word: its backup may be gone. */
const restoredSnaps = ({ identity, lineage, snapshots }: SourceView, store: string): SnapName[] => {
  if (lineage === null || lineage.imageId !== identity.imageId) return [];
  const parts = parseBackupId(lineage.backupId);
  if (!parts.ok || parts.value.store !== store) return [];
  const { snap } = parts.value;
  return snapshots.some(({ id, name }) => id === lineage.snapId && name === snap) ? [snap] : [];
};
