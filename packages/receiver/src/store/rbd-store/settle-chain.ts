import type { ChainName } from '@rbdferry/core/model/backup-id.js';
import { toFerryError } from '@rbdferry/core/errors/ferry-error.js';
import type { ChainView } from './chain-reader.js';
import type { Options } from './context.js';
import { isEmptied, recoverChain } from './recover-chain.js';
import { finishDeletion, type RemoveContext } from './remove.js';

/** Whether an earlier step broke off on this chain. */
export const isUnsettled = (view: ChainView): boolean =>
  view.state?.kind === 'receiving' || view.state?.kind === 'deleting' || isEmptied(view);

/**
 * Ends what broke off on a chain, a transfer or a deletion; the caller holds its lock. There need not be such a chain. Answers whether it
 * changed anything.
 */
export const settleChain = async (context: RemoveContext, chain: ChainName, options: Options): Promise<boolean> => {
  const view = await unlessGone(context.reader.fresh(chain, options));
  if (view === null) return false;
  if (view.state?.kind === 'deleting') return finishDeletion(context, view, options);
  return isUnsettled(view) && (await recoverChain(context, chain, options));
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
