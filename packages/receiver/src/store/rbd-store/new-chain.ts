import { FerryError, throwIfAborted, toFerryError } from '@rbdferry/core/errors/ferry-error.js';
import type { ErrorCode } from '@rbdferry/core/errors/registry.js';
import type { ImageLayout } from '@rbdferry/core/ceph/port.js';
import { splitChainName, type ChainName } from '@rbdferry/core/model/backup-id.js';
import { formatPoolSpec } from '@rbdferry/core/model/image-spec.js';
import type { Options } from '../port.js';
import { encodeState, stateKey, type KnownHeadState } from './backup-meta.js';
import { removeImage, type StoreContext } from './context.js';

/** A new image has this name until its state is written on it, so that whatever is found under it is ours to remove. */
const suffix = '.new';

const newImageOf = (chain: ChainName): string => `${chain}${suffix}`;

/** The chain that an image of this name was to become; undefined when it was to become none. */
export const chainOfNewImage = (name: string): ChainName | undefined =>
  name.endsWith(suffix) ? splitChainName(name.slice(0, -suffix.length))?.chain : undefined;

/**
 * Makes the image of a new chain; the caller holds its lock, and calls {@link removeNewImage} when it throws after `onMade`: from then on there may be
 * an image.
 *
 * If we die here: the image has its `.new` name, or it has its state; either way it is known as ours and uncommitted. None of the
 * commands is broken off when the client goes: half an image may have no name to be found by.
 */
export const createChain = async (
  context: StoreContext,
  chain: ChainName,
  {
    image,
    state,
    signal,
    onMade,
  }: Options & { readonly image: ImageLayout; readonly state: KnownHeadState; readonly onMade: () => void },
): Promise<void> => {
  const { ceph, reader } = context;
  const young = reader.image(newImageOf(chain));
  try {
    await missingPoolIsAStoreError(context, ceph.create(young, image));
  } catch (thrown) {
    if (!madeNothing.has(toFerryError(thrown).code)) onMade();
    throw thrown;
  }
  onMade();
  throwIfAborted(signal);
  const text = encodeState(state);
  await reader.setMetadata(young.image, stateKey, text);
  await ceph.rename(young, reader.image(chain));
  reader.made(chain, new Map([[stateKey, text]]));
};

/** Removes a chain's image that has not got its name yet. There need not be one. */
export const removeNewImage = (context: StoreContext, chain: ChainName, options: Options): Promise<boolean> =>
  removeImage(context, newImageOf(chain), options);

/** Errors of the command that makes the image after which there is none for sure. A client that was shut out may have made it. */
const madeNothing: ReadonlySet<ErrorCode> = new Set(['STORE_NOT_FOUND', 'CEPH_PERMISSION', 'CEPH_NOT_INSTALLED']);

const missingPoolIsAStoreError = async ({ name, pool }: StoreContext, step: Promise<void>): Promise<void> => {
  try {
    await step;
  } catch (thrown) {
    const error = toFerryError(thrown);
    if (error.code !== 'POOL_NOT_FOUND' && error.code !== 'NAMESPACE_NOT_FOUND') throw error;
    throw new FerryError('STORE_NOT_FOUND', `store ${name} is pool ${formatPoolSpec(pool)}: ${error.message}`, {
      hint: "create the pool (and namespace), or correct the receiver's configuration",
      cause: error,
    });
  }
};
