import type { ChainName } from '@rbdferry/core/model/backup-id.js';
import { toFerryError } from '@rbdferry/core/errors/ferry-error.js';
import type { Options } from '../port.js';
import type { ChainView } from './chain-view.js';
import type { StoreContext } from './context.js';
import { recoverChain } from './recover-chain.js';
import { finishDeletion } from './remove.js';

/**
 * Ends what broke off on a chain, a transfer or a deletion; the caller holds it. There need not be such a chain. Answers whether it
 * changed anything.
 */
export const settleChain = async (context: StoreContext, chain: ChainName, options: Options): Promise<boolean> => {
  const view = await unlessGone(context.reader.fresh(chain, options));
  if (view === null) return false;
  if (view.state?.kind === 'deleting') return finishDeletion(context, view, options);
  return view.isUnsettled && recoverChain(context, view, options);
};

/** Null when there is no such chain. */
const unlessGone = async (look: Promise<ChainView>): Promise<ChainView | null> => {
  try {
    return await look;
  } catch (thrown) {
    if (toFerryError(thrown).code === 'BACKUP_NOT_FOUND') return null;
    throw thrown;
  }
};
