import { FerryError, toFerryError } from '@rbdferry/core/errors/ferry-error.js';
import type { BackupIdParts, ChainName } from '@rbdferry/core/model/backup-id.js';
import type { Removed, RemoveOptions } from '../port.js';
import { backupKey, usageKey } from './backup-meta.js';
import type { ChainView } from './chain-reader.js';
import { findBackup, lockWithin, noBackup, readersOf, removeImage, type StoreContext } from './context.js';

export interface RemoveContext extends StoreContext {
  /** How long a removed chain's image stays in the trash; null to remove it for good. */
  readonly trashExpiryMs: number | null;
}

/** Holds off transfers into the chain and pulls from it while `step` runs. */
const alone = async <T>(
  context: RemoveContext,
  chain: ChainName,
  options: RemoveOptions,
  step: (view: ChainView) => Promise<T>,
): Promise<T> => {
  const release = await lockWithin(context, chain, chain, options);
  try {
    const noReaders = await lockWithin(context, readersOf(chain), chain, options);
    try {
      return await step(await context.reader.fresh(chain, options));
    } finally {
      noReaders();
    }
  } finally {
    release();
  }
};

/**
 * Removes one backup. RBD snapshots are independent, so the others stay as they are.
 *
 * If we die here: before the snapshot is removed nothing has changed; after it, its facts are left without a snapshot and
 * count for nothing.
 */
export const removeBackup = (context: RemoveContext, id: BackupIdParts, options: RemoveOptions): Promise<Removed> =>
  alone(context, id.chain, options, async (view) => {
    const backup = findBackup(view, id);
    if (!options.mayRemove(backup.client)) throw noBackup(id);
    if (view.chain.backups.length === 1) return removeWhole(context, id.chain, view, options);
    if (!options.dryRun) {
      await context.ceph.removeSnapshot(context.reader.image(id.chain), id.snap, options);
      await dropFacts(context, id.chain, view, id.snap);
    }
    return { backupIds: [backup.id], chainRemoved: false, trashedUntil: null };
  });

/** Removes a whole chain. */
export const removeChain = (context: RemoveContext, chain: ChainName, options: RemoveOptions): Promise<Removed> =>
  alone(context, chain, options, async (view) => {
    const [first] = view.chain.backups;
    if (first === undefined || !view.chain.backups.every((backup) => options.mayRemove(backup.client))) {
      throw new FerryError('BACKUP_NOT_FOUND', `there is no chain ${chain} in store ${context.name}`);
    }
    return removeWhole(context, chain, view, options);
  });

/**
 * If we die here: with the trash it is one step. Without it backups go one by one, newest last, and what is left is a
 * shorter chain.
 */
const removeWhole = async (
  context: RemoveContext,
  chain: ChainName,
  view: ChainView,
  options: RemoveOptions,
): Promise<Removed> => {
  const { ceph, reader, trashExpiryMs, now } = context;
  const image = reader.image(chain);
  const backupIds = view.chain.backups.map((backup) => backup.id);
  const trashedUntil = trashExpiryMs === null ? null : new Date(now() + trashExpiryMs);
  if (options.dryRun) return { backupIds, chainRemoved: true, trashedUntil };
  if (trashedUntil !== null) {
    await ceph.moveToTrash(image, trashedUntil, options);
    reader.forget(chain);
    return { backupIds, chainRemoved: true, trashedUntil };
  }
  for (const backup of view.chain.backups) {
    await ceph.removeSnapshot(image, backup.snap, options);
    await dropFacts(context, chain, view, backup.snap);
  }
  const foreign = view.snapshots.some(({ name }) => !view.chain.backups.some((backup) => backup.snap === name));
  if (foreign) {
    context.log.warn({ chain }, 'the image of a removed chain has snapshots that are not ours: left alone');
    return { backupIds, chainRemoved: false, trashedUntil: null };
  }
  await removeImage(context, chain, options);
  return { backupIds, chainRemoved: true, trashedUntil: null };
};

/** Best effort: facts without a snapshot count for nothing, and a full pool takes no change of image-meta. */
const dropFacts = async (
  { reader, log }: RemoveContext,
  chain: ChainName,
  view: ChainView,
  snap: BackupIdParts['snap'],
): Promise<void> => {
  for (const key of [backupKey(snap), usageKey(snap)]) {
    if (!view.metadata.has(key)) continue;
    try {
      await reader.removeMetadata(chain, key);
    } catch (thrown) {
      log.warn({ chain, key, error: toFerryError(thrown).message }, 'could not remove the facts of a removed backup');
      return;
    }
  }
};
