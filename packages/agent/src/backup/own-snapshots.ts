import { isSnapName, type SnapName } from '@rbdferry/core/model/backup-id.js';
import type { Chain } from '@rbdferry/core/model/chain.js';
import { commonBackups, type SourceView } from '@rbdferry/core/model/planner.js';
import type { JobStore } from '../jobs/job-store.js';

/** Where backups go, and what is known of those that were made for there. */
interface Place {
  readonly store: string;
  readonly receiver: string;
  readonly jobs: Pick<JobStore, 'madeSnapshots'>;
}

/**
 * All snapshots on a source image that were made for backups to this place: those that an increment could build on, and those that serve
 * nobody. The latter are copies that a migration or a deep copy of the image brought along (of the same name, under another id), and those that a
 * job made though it never heard of it. Those of the older tool are its own.
 *
 * @param chains where the image's backups are
 */
export const ownSnapshots = (view: SourceView, chains: readonly Chain[], place: Place): SnapName[] => [
  ...new Set([...commonBackups(view, chains).map(({ snap }) => snap), ...straySnapshots(view, chains, place)]),
];

const straySnapshots = (view: SourceView, chains: readonly Chain[], { store, receiver, jobs }: Place): SnapName[] => {
  const candidates = view.snapshots.map(({ name }) => name).filter(isSnapName);
  if (candidates.length === 0) return [];
  const backups = chains.flatMap((chain) => (chain.legacy ? [] : chain.backups.map(({ snap }) => snap)));
  const made = new Set<SnapName>([...backups, ...jobs.madeSnapshots({ kind: 'backup', receiver, store }, candidates)]);
  return candidates.filter((name) => made.has(name));
};
