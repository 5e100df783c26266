import { FerryError, toFerryError } from '@rbdferry/core/errors/ferry-error.js';
import { formatBackupId, type BackupIdParts } from '@rbdferry/core/model/backup-id.js';
import type { Options, PushIntent } from '../port.js';
import { encodeState, stateKey } from './backup-meta.js';
import type { ChainView } from './chain-view.js';
import type { StoreContext } from './context.js';
import { untilUnused } from './keepers.js';
import { receivingState } from './receiving-state.js';

/**
 * Makes the head of a chain equal to the base of an increment.
 *
 * If we die here: the state says `receiving` before anything is changed, so the next look rolls the head back.
 */
export const prepareHead = async (
  context: StoreContext,
  view: ChainView,
  intent: PushIntent & { readonly base: BackupIdParts },
  options: Options,
): Promise<void> => {
  const { ceph, reader, now } = context;
  const { base } = intent;
  // This ends before the state is written: of two commands that change one image at the same time one may hang, see `RbdPush.commit`.
  const headIsBase = await isHeadBase(context, view, base, options);
  await reader.setMetadata(base.chain, stateKey, encodeState(receivingState(intent, now())), options);
  if (headIsBase) return;
  const image = reader.image(base.chain);
  await untilUnused(context, image, options);
  await ceph.rollback(image, base.snap, options);
};

/**
 * Whether the head equals the base, which is there: the view may be from memory. An increment lands on whatever the head is, and somebody may
 * have written into the image, though nobody should. So Ceph is asked, which knows at once where images have fast-diff. Without, it would look
 * at the image's every object; there the state alone is believed. @throws BACKUP_NOT_FOUND
 */
const isHeadBase = async (
  context: StoreContext,
  { state, snapshots }: ChainView,
  base: BackupIdParts,
  options: Options,
): Promise<boolean> => {
  const { ceph, reader, log, features } = context;
  const { chain, snap } = base;
  const image = reader.image(chain);
  const saysBase = state?.kind === 'clean' && state.head === snap;
  try {
    if (saysBase && features.includes('fast-diff')) {
      const isTouched = await ceph.headMayDiffer(image, snap, options);
      if (isTouched)
        log.info({ chain, snap }, 'the head of a chain is not known to equal its newest backup: rolled back');
      return !isTouched;
    }
    const before = snapshots.find(({ name }) => name === snap);
    const isThere = (await ceph.snapshots(image, options)).some(({ id }) => id === before?.id);
    if (isThere) return saysBase;
  } catch (thrown) {
    const { code } = toFerryError(thrown);
    if (code !== 'SNAPSHOT_NOT_FOUND' && code !== 'IMAGE_NOT_FOUND') throw thrown;
  }
  throw new FerryError('BACKUP_NOT_FOUND', `there is no backup ${formatBackupId(base)}`);
};
