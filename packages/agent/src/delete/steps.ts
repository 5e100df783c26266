import { orThrow } from '@rbdferry/core/errors/parsed.js';
import { parseBackupId, type BackupId } from '@rbdferry/core/model/backup-id.js';
import type { Backup, Chain } from '@rbdferry/core/model/chain.js';
import type { DeletionEnd } from './deletion-end.js';
import type { Selection } from './selection.js';

/** One step of a deletion: a backup, or a chain as a whole. */
export type Step = Pick<DeletionEnd, 'store' | 'chain' | 'ids'> & {
  /** What is known of them; empty for a backup that nobody has heard of. */
  readonly backups: readonly Backup[];
};

/** What is to go of one chain. */
export interface ChainSteps {
  /** As it is before; null for one that nobody has heard of. */
  readonly chain: Chain | null;
  /** The oldest backup first: when the image of the chain cannot go it is the newest that stays. */
  readonly steps: readonly Step[];
}

/**
 * The steps in which a selection is deleted, chain by chain.
 *
 * @param before the chains that may be touched
 * @param ids the backups that are to go, unless it is a chain as a whole
 */
export const stepsOf = (selection: Selection, before: readonly Chain[], ids: readonly BackupId[]): ChainSteps[] => {
  if (selection.kind === 'chain') {
    const { store, chain: name } = selection;
    const chain = before.find((each) => each.name === name) ?? null;
    const backups = chain?.backups ?? [];
    return [{ chain, steps: [{ store, chain: name, ids: backups.map(({ id }) => id), backups }] }];
  }
  const chains = new Map(before.map((chain) => [`${chain.store}/${chain.name}`, chain]));
  return [...byChain(ids)].map(([name, ofChain]) => {
    const chain = chains.get(name) ?? null;
    return { chain, steps: backupSteps(ofChain, chain) };
  });
};

const backupSteps = (ids: readonly BackupId[], chain: Chain | null): Step[] => {
  const known = new Map(chain?.backups.map((backup, place) => [backup.id, { backup, place }]));
  const place = (id: BackupId) => known.get(id)?.place ?? -1;
  return ids
    .toSorted((a, b) => place(a) - place(b))
    .map((id) => {
      const { store } = orThrow(parseBackupId(id), 'INVALID_BACKUP_ID');
      const backup = known.get(id)?.backup;
      return { store, chain: null, ids: [id], backups: backup === undefined ? [] : [backup] };
    });
};

/** By STORE/CHAIN, in the order in which these are named first. */
const byChain = (ids: readonly BackupId[]): Map<string, BackupId[]> => {
  const groups = new Map<string, BackupId[]>();
  for (const id of ids) {
    const chain = id.slice(0, id.lastIndexOf('@'));
    const group = groups.get(chain);
    if (group === undefined) groups.set(chain, [id]);
    else group.push(id);
  }
  return groups;
};
