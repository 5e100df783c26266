import type { FerryError } from '@rbdferry/core/errors/ferry-error.js';
import type { BackupId } from '@rbdferry/core/model/backup-id.js';
import { splitChainName } from '@rbdferry/core/model/backup-id.js';
import { markActive, type Chain } from '@rbdferry/core/model/chain.js';
import { imagesOf, ofImage } from '@rbdferry/core/model/image-backups.js';
import type { ImageSpec } from '@rbdferry/core/model/image-spec.js';
import { mapAhead } from '@rbdferry/core/transfer/map-ahead.js';
import type { UnreadableChain } from '@rbdferry/core/wire/unreadable-chain.js';
import { collect } from '../backup/look-at-source.js';
import type { ReceiverClient } from '../receiver-client/receiver-client.js';
import { backupsByName, looksAtOnce, presentOn, SourceLooks, type SourceLooksDeps } from '../source-looks.js';

/** A chain, and which of its backups could still be built on. */
export interface ListedChain {
  readonly kind: 'chain';
  readonly chain: Chain;
  readonly presentOnSource: readonly BackupId[];
  /** Why that is not known of all of them; null when it is. */
  readonly sourceUnknown: FerryError | null;
}

/** What a listing tells of: chains, and at its end those that are there and cannot be read. */
export type Listed = ListedChain | { readonly kind: 'unreadable'; readonly chain: UnreadableChain };

export interface ListDeps extends SourceLooksDeps {
  readonly receiver: Pick<ReceiverClient, 'chains'>;
}

/**
 * Chains of one image (with its own backups and no others'), or of the whole store (null).
 *
 * @throws the failure of the first chain when none of them could be read
 */
export async function* listBackups(
  store: string,
  image: ImageSpec | null,
  deps: ListDeps,
): AsyncGenerator<Listed, void, undefined> {
  const { receiver, signal } = deps;
  const looks = new SourceLooks(deps);
  const unreadable: UnreadableChain[] = [];
  const onUnreadable = (chain: UnreadableChain) => {
    unreadable.push(chain);
  };
  // Beside the question to the receiver: an image that has chains is looked at in any case.
  if (image !== null) looks.begin(image);
  const found = await collect(receiver.chains(store, image?.image ?? null, { signal, onUnreadable }));
  const chains = image === null ? found : found.filter((chain) => holdsBackupsOf(chain, image));
  if (chains.length === 0 && unreadable[0] !== undefined) throw unreadable[0].error;
  looks.expect(chains);
  const shown = image === null ? chains : ownOf(image, chains);
  const pairs = chains.flatMap((whole, index) => (shown[index] === undefined ? [] : [{ whole, shown: shown[index] }]));
  yield* mapAhead(pairs, {
    map: async ({ whole, shown }) => ({ kind: 'chain' as const, chain: shown, ...(await presence(whole, looks)) }),
    ahead: looksAtOnce,
  });
  for (const chain of unreadable) yield { kind: 'unreadable', chain };
}

/** Which backups of the chain, of whatever image they are, still have their snapshots on the source cluster. */
const presence = async (
  chain: Chain,
  looks: SourceLooks,
): Promise<Pick<ListedChain, 'presentOnSource' | 'sourceUnknown'>> => {
  const backups = backupsByName([chain]);
  const present = new Set<BackupId>();
  let sourceUnknown: FerryError | null = null;
  for (const image of imagesOf([chain])) {
    const { source, failure } = await looks.view(image, backups);
    sourceUnknown ??= failure;
    for (const { id } of source === null ? [] : presentOn(source, backups)) present.add(id);
  }
  return { presentOnSource: chain.backups.flatMap(({ id }) => (present.has(id) ? [id] : [])), sourceUnknown };
};

/** Whether the chain holds backups of the image, or is the older tool's of that name. */
const holdsBackupsOf = (chain: Chain, image: ImageSpec): boolean =>
  chain.legacy ? splitChainName(chain.name)?.image === image.image : ofImage([chain], image).length > 0;

/** What of these chains is the image's own: in the same order. */
const ownOf = (image: ImageSpec, chains: readonly Chain[]): Chain[] =>
  markActive(chains.map((chain) => (chain.legacy ? chain : (ofImage([chain], image)[0] ?? chain))));
