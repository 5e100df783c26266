import type { BackupIdParts } from '@rbdferry/core/model/backup-id.js';
import type { Options, PushIntent } from '../port.js';
import { encodeState, stateKey } from './backup-meta.js';
import type { ChainView } from './chain-reader.js';
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
  const saysBase = view.state?.kind === 'clean' && view.state.head === base.snap;
  // The look ends before the state is written: of two commands that change one image at the same time one may hang, see `RbdPush.commit`.
  const headIsBase = saysBase && !(await headWasTouched(context, base, options));
  await reader.setMetadata(base.chain, stateKey, encodeState(receivingState(intent, now())), options);
  if (headIsBase) return;
  const image = reader.image(base.chain);
  await untilUnused(context, image, options);
  await ceph.rollback(image, base.snap, options);
};

/**
 * An increment lands on whatever the head is: somebody may have written into the image, though nobody should. Without fast-diff the look
 * would take as long as reading the image's every object.
 */
const headWasTouched = async (
  { ceph, reader, log, features }: StoreContext,
  { chain, snap }: BackupIdParts,
  options: Options,
): Promise<boolean> => {
  if (!features.includes('fast-diff')) return false;
  const touched = await ceph.headMayDiffer(reader.image(chain), snap, options);
  if (touched) log.info({ chain, snap }, 'the head of a chain is not known to equal its newest backup: rolled back');
  return touched;
};
