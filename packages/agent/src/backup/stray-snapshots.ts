import { isSnapName, type SnapName } from '@rbdferry/core/model/backup-id.js';
import type { Chain } from '@rbdferry/core/model/chain.js';
import type { SourceView } from '@rbdferry/core/model/planner.js';
import type { JobStore } from '../jobs/job-store.js';

/**
 * Snapshots on a source image that were made for a backup to this store and serve nobody: copies that a migration or a deep copy of the
 * image brought along (of the same name, under another id), and those that a job made though it never heard of it. Those of the older
 * tool are its own.
 *
 * @param chains where the image's backups are
 */
export const straySnapshots = (
  view: SourceView,
  chains: readonly Chain[],
  {
    store,
    receiver,
    jobs,
  }: { readonly store: string; readonly receiver: string; readonly jobs: Pick<JobStore, 'madeSnapshots'> },
): SnapName[] => {
  const candidates = view.snapshots.map(({ name }) => name).filter(isSnapName);
  if (candidates.length === 0) return [];
  const backups = chains.flatMap((chain) => (chain.legacy ? [] : chain.backups.map(({ snap }) => snap)));
  const made = new Set<SnapName>([...backups, ...jobs.madeSnapshots({ receiver, store }, candidates)]);
  return candidates.filter((name) => made.has(name));
};
