import { FerryError, toFerryError } from '@rbdferry/core/errors/ferry-error.js';
import type { Increment } from '../driver.js';
import type { Options } from '../port.js';
import { decodeUsage, encodeUsage, usageKey } from './backup-meta.js';
import type { ChainView } from './chain-view.js';
import type { StoreContext } from './context.js';

/**
 * What a backup added, in the bytes that `rbd diff` counts between its snapshot and the one before it. Measured once and written down;
 * measured again only when the backup before it was removed. @throws SNAPSHOT_NOT_FOUND, IMAGE_NOT_FOUND
 */
export const addedBytes = async (
  context: StoreContext,
  view: ChainView,
  of: Increment,
  options: Options,
): Promise<bigint> => {
  const text = view.metadata.get(usageKey(of.backup.snap));
  const known = text === undefined ? undefined : decodeUsage(text);
  if (known !== undefined && known.previous === of.previous) return known.addedBytes;
  return measure(context, view, of, options);
};

/** Asks Ceph, and writes the answer down. @throws SNAPSHOT_NOT_FOUND when what was measured is not there any more */
const measure = async (context: StoreContext, view: ChainView, of: Increment, options: Options): Promise<bigint> => {
  const image = context.reader.image(view.chain.name);
  const extents = await context.ceph.diffExtents(image, { snap: of.backup.snap, fromSnap: of.previous }, options);
  await lookAgain(context, view, of, options);
  await writeDown(context, view, { ...of, addedBytes: extents.dataBytes }, options);
  return extents.dataBytes;
};

/** `rbd diff` exits 0 when what it reads is removed meanwhile, and reads nothing there. */
const lookAgain = async (
  { ceph, reader }: StoreContext,
  view: ChainView,
  { backup, previous }: Increment,
  options: Options,
): Promise<void> => {
  const now = await ceph.snapshots(reader.image(view.chain.name), options);
  for (const name of previous === null ? [backup.snap] : [backup.snap, previous]) {
    const before = view.snapshots.find((snapshot) => snapshot.name === name);
    if (before !== undefined && now.some((snapshot) => snapshot.name === name && snapshot.id === before.id)) continue;
    throw new FerryError('SNAPSHOT_NOT_FOUND', `${view.chain.name}@${name} was removed while it was measured`);
  }
};

/** For so long nothing is written down once that has failed: on a full pool each try costs seconds. */
const writePauseMs = 60_000;
const writesAgainAt = new WeakMap<StoreContext['reader'], number>();

/**
 * On clean chains of ours only: the older tool's images are left as they are. A chain that is being changed is left alone, since of two
 * commands that change an image at the same time one may hang (see `RbdPush.commit`), and a transfer is worth more than not to measure
 * again. The figure is told though it cannot be written down, on a full store above all, where one wants to know it.
 */
const writeDown = async (
  context: StoreContext,
  { chain: { name }, state }: ChainView,
  { backup, previous, addedBytes }: Increment & { readonly addedBytes: bigint },
  options: Options,
): Promise<void> => {
  const { reader, log, now, unlessChanging } = context;
  if (state?.kind !== 'clean' || (writesAgainAt.get(reader) ?? 0) > now()) return;
  const usage = encodeUsage({ previous, addedBytes });
  try {
    await unlessChanging(name, () => reader.setMetadata(name, usageKey(backup.snap), usage, options));
  } catch (thrown) {
    if (options.signal?.aborted === true) throw thrown;
    const { code, message } = toFerryError(thrown);
    writesAgainAt.set(reader, now() + writePauseMs);
    log.info({ chain: name, code, error: message }, 'could not write down what a backup takes up');
  }
};
