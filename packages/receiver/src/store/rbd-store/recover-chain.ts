import { FerryError, toFerryError } from '@rbdferry/core/errors/ferry-error.js';
import { isSnapName, type ChainName } from '@rbdferry/core/model/backup-id.js';
import { backupKey, encodeState, snapOfBackupKey, stateKey } from './backup-meta.js';
import type { ChainView } from './chain-reader.js';
import { removeImage, type Options, type StoreContext } from './context.js';
import { untilUnused } from './keepers.js';

/**
 * Puts a chain of ours right after an interrupted import; the caller holds its lock. Answers whether it changed anything.
 * An image without a committed backup is removed, a dirty head is rolled back to the newest one.
 *
 * If we die here: the state says `receiving` until the very last step, so the next look does it again.
 */
export const recoverChain = async (context: StoreContext, chain: ChainName, options: Options): Promise<boolean> => {
  const { ceph, reader } = context;
  const view = await unlessGone(reader.fresh(chain, options));
  if (view === null) return false;
  if (isEmptied(view)) return removeEmptied(context, chain, options);
  if (view.state?.kind !== 'receiving') return false;
  const newest = view.undecided ?? view.chain.backups.at(-1);
  if (newest?.snap !== view.state.snap) {
    // The dead receiver's `import-diff` or `image-meta set` may outlive it, and would go on writing into what is put right here.
    await untilUnused(context, reader.image(chain), options);
    if (newest === undefined) return removeUncommitted(context, chain, view, options);
    await removeUncommittedSnapshot(context, chain, view, options);
    await ceph.rollback(reader.image(chain), newest.snap, options);
  }
  await dropOrphanFacts(context, chain, view, options);
  await reader.setMetadata(chain, stateKey, encodeState({ kind: 'clean', v: 1, head: newest.snap }), options);
  reader.settled(newest.id);
  return true;
};

/** A chain becomes clean by a commit and so has a backup: one without any snapshot was left by a deletion that broke off. */
export const isEmptied = ({ state, snapshots }: ChainView): boolean =>
  state?.kind === 'clean' && snapshots.length === 0;

const removeEmptied = async (context: StoreContext, chain: ChainName, options: Options): Promise<boolean> => {
  const hidden = await context.ceph.hiddenSnapshots(context.reader.image(chain), options);
  if (hidden.length === 0) return removeImage(context, chain, options);
  throw new FerryError('BACKUP_IN_USE', `the image ${chain} has no backup left, and stays: ${hidden.join(', ')}`);
};

const unlessGone = async (step: Promise<ChainView>): Promise<ChainView | null> => {
  try {
    return await step;
  } catch (thrown) {
    if (toFerryError(thrown).code === 'BACKUP_NOT_FOUND') return null;
    throw thrown;
  }
};

/** Removes an image that never had a backup. Anything in it that the interrupted transfer did not make keeps it. */
const removeUncommitted = async (
  context: StoreContext,
  chain: ChainName,
  view: ChainView,
  options: Options,
): Promise<boolean> => {
  const { ceph, reader, log } = context;
  const image = reader.image(chain);
  await removeUncommittedSnapshot(context, chain, view, options);
  const [left] = await ceph.snapshots(image, options);
  if (left === undefined) {
    return removeImage(context, chain, options);
  }
  log.warn({ chain, snapshot: left.name }, 'an uncommitted image has a snapshot: left alone');
  return false;
};

/** A snapshot of the interrupted transfer's name without facts can only be its own. */
const removeUncommittedSnapshot = async (
  { ceph, reader }: StoreContext,
  chain: ChainName,
  view: ChainView,
  options: Options,
): Promise<void> => {
  if (view.state?.kind !== 'receiving' || !isSnapName(view.state.snap)) return;
  if (view.metadata.has(backupKey(view.state.snap))) return;
  await ceph.removeSnapshot(reader.image(chain), view.state.snap, options);
};

/** Facts are written after their snapshot: without one they belong to nothing, whether it was removed or they came late. */
const dropOrphanFacts = async (
  { reader }: StoreContext,
  chain: ChainName,
  view: ChainView,
  options: Options,
): Promise<void> => {
  const snapshots = new Set(view.snapshots.map((snapshot) => snapshot.name));
  for (const key of view.metadata.keys()) {
    const snap = snapOfBackupKey(key);
    if (snap !== undefined && !snapshots.has(snap)) await reader.removeMetadata(chain, key, options);
  }
};
