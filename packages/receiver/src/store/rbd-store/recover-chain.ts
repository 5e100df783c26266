import { FerryError } from '@rbdferry/core/errors/ferry-error.js';
import { isSnapName, type ChainName } from '@rbdferry/core/model/backup-id.js';
import type { Options } from '../port.js';
import { backupKey, encodeState, stateKey } from './backup-meta.js';
import { isEmptied, orphansOf, type ChainView } from './chain-view.js';
import { removeImage, type StoreContext } from './context.js';
import { untilUnused } from './keepers.js';

/**
 * Puts a chain of ours right after an interrupted import; the caller holds it. Answers whether it changed anything.
 * An image without a committed backup is removed, a dirty head is rolled back to the newest one.
 *
 * If we die here: the state says `receiving` until the very last step, so the next look does it again.
 */
export const recoverChain = async (context: StoreContext, view: ChainView, options: Options): Promise<boolean> => {
  const { ceph, reader } = context;
  const chain = view.chain.name;
  if (isEmptied(view)) return removeEmptied(context, chain, options);
  if (view.state?.kind === 'clean') return dropOrphans(context, chain, view, options);
  if (view.state?.kind !== 'receiving') return false;
  const newest = view.undecided ?? view.chain.backups.at(-1);
  if (newest?.snap !== view.state.snap) {
    // The dead receiver's `import-diff` or `image-meta set` may outlive it, and would go on writing into what is put right here.
    await untilUnused(context, reader.image(chain), options);
    if (newest === undefined) return removeUncommitted(context, chain, view, options);
    await removeUncommittedSnapshot(context, chain, view, options);
    await ceph.rollback(reader.image(chain), newest.snap, options);
  }
  await dropOrphans(context, chain, view, options);
  await reader.setMetadata(chain, stateKey, encodeState({ kind: 'clean', v: 1, head: newest.snap }), options);
  reader.settled(newest.id);
  return true;
};

const removeEmptied = async (context: StoreContext, chain: ChainName, options: Options): Promise<boolean> => {
  const hidden = await context.ceph.hiddenSnapshots(context.reader.image(chain), options);
  if (hidden.length === 0) return removeImage(context, chain, options);
  throw new FerryError('BACKUP_IN_USE', `the image ${chain} has no backup left, and stays: ${hidden.join(', ')}`);
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
  { reader }: StoreContext,
  chain: ChainName,
  view: ChainView,
  options: Options,
): Promise<void> => {
  if (view.state?.kind !== 'receiving' || !isSnapName(view.state.snap)) return;
  if (view.metadata.has(backupKey(view.state.snap))) return;
  await reader.removeSnapshot(chain, view.state.snap, options);
};

/** Facts are written after their snapshot: without one they belong to nothing, whether it was removed or they came late. */
const dropOrphans = async (
  { reader }: StoreContext,
  chain: ChainName,
  view: ChainView,
  options: Options,
): Promise<boolean> => {
  const orphans = orphansOf(view);
  for (const key of orphans) await reader.removeMetadata(chain, key, options);
  return orphans.length > 0;
};
