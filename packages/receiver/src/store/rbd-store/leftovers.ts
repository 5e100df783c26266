import { toFerryError } from '@rbdferry/core/errors/ferry-error.js';
import { splitChainName, type ChainName } from '@rbdferry/core/model/backup-id.js';
import type { Leftover } from '../driver.js';
import type { Options } from '../port.js';
import { removeImage, type StoreContext } from './context.js';
import { chainOfNewImage, removeNewImage } from './new-chain.js';
import { settleChain } from './settle-chain.js';

/** What an earlier life has left in the pool: names that stand for nothing whole, and chains on which something broke off. */
export const leftovers = async (context: StoreContext, options: Options): Promise<Leftover[]> => {
  const { ceph, pool, reader, log } = context;
  await prepareRemovals(context, options);
  const names = await ceph.list(pool, options);
  const views = await reader.many(null, {
    ...options,
    onUnreadable: ({ name, error: { code, message } }) => {
      log.warn({ chain: name, code, error: message }, 'could not read a chain');
    },
  });
  const readable = new Set<string>(views.map((view) => view.chain.name));
  const abandoned = names.flatMap((name): Leftover[] => {
    const chain = chainOfNewImage(name) ?? (readable.has(name) ? undefined : splitChainName(name)?.chain);
    return chain === undefined ? [] : [{ chain, name, clean: () => removeAbandoned(context, name, options) }];
  });
  const unsettled = views
    .filter((view) => view.isUnsettled)
    .map(({ chain: { name } }) => ({ chain: name, name, clean: () => settleChain(context, name, options) }));
  return [...abandoned, ...unsettled];
};

/** Deletion must work on a store that has become full. */
const prepareRemovals = async ({ ceph, pool, log }: StoreContext, options: Options): Promise<void> => {
  try {
    await ceph.prepareRemovals(pool, options);
  } catch (thrown) {
    const { code, message } = toFerryError(thrown);
    log.warn({ code, error: message }, 'could not make the trash; a full pool may refuse deletions');
  }
};

/**
 * Takes away a new image that never got its name, and finishes an `rbd rm` that was broken off: that leaves a name without an image, and
 * doing it again removes the name. A chain's image that is there stays.
 */
export const removeAbandoned = async (context: StoreContext, name: string, options: Options): Promise<boolean> => {
  const { ceph, reader } = context;
  const isNew = chainOfNewImage(name) !== undefined;
  if (!isNew && (await isThere(ceph.info(reader.image(name), options)))) return false;
  return removeImage(context, name, options);
};

/** Ends what broke off on a chain, and takes away what no look at it shows. */
export const settleThoroughly = async (context: StoreContext, chain: ChainName, options: Options): Promise<boolean> => {
  const isSettled = await settleChain(context, chain, options);
  const wasNew = await removeNewImage(context, chain, options);
  const wasHalf = await removeAbandoned(context, chain, options);
  return isSettled || wasNew || wasHalf;
};

const isThere = async (step: Promise<unknown>): Promise<boolean> => {
  try {
    await step;
    return true;
  } catch (thrown) {
    if (toFerryError(thrown).code === 'IMAGE_NOT_FOUND') return false;
    throw thrown;
  }
};
