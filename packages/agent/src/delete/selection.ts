import { orThrow } from '@rbdferry/core/errors/parsed.js';
import { parseBackupId, splitChainName, type BackupId, type ChainName } from '@rbdferry/core/model/backup-id.js';
import type { Chain } from '@rbdferry/core/model/chain.js';
import { isOfImage } from '@rbdferry/core/model/image-backups.js';
import type { ImageSpec } from '@rbdferry/core/model/image-spec.js';
import type { AskedPolicy } from './policy-used.js';

/** What is to be deleted. */
export type Selection =
  | { readonly kind: 'ids'; readonly ids: readonly BackupId[] }
  | { readonly kind: 'chain'; readonly store: string; readonly chain: ChainName }
  | PolicySelection;

export interface PolicySelection {
  readonly kind: 'policy';
  readonly store: string;
  /** Null for every image. */
  readonly images: readonly ImageSpec[] | null;
  readonly policy: AskedPolicy;
}

/** Where the chains are that the selection may touch; the image is a name, or null for all. */
export const placesOf = (selection: Selection): { store: string; image: string | null }[] => {
  switch (selection.kind) {
    case 'ids': {
      const places = selection.ids.map((id) => {
        const { store, chain } = orThrow(parseBackupId(id), 'INVALID_BACKUP_ID');
        return { store, image: imageOfChain(chain) };
      });
      return [...new Map(places.map((place) => [`${place.store}/${place.image}`, place])).values()];
    }
    case 'chain':
      return [{ store: selection.store, image: imageOfChain(selection.chain) }];
    case 'policy': {
      const { store, images } = selection;
      if (images === null) return [{ store, image: null }];
      return [...new Set(images.map((spec) => spec.image))].map((image) => ({ store, image }));
    }
  }
};

const imageOfChain = (chain: ChainName): string | null => splitChainName(chain)?.image ?? null;

const holdsBackupsOf = ({ backups, legacy, name }: Chain, image: ImageSpec): boolean =>
  legacy ? imageOfChain(name) === image.image : backups.some((backup) => isOfImage(backup, image));

/** Images that a policy names and that none of the chains holds a backup of. */
export const imagesWithoutBackups = (
  selection: Selection,
  chains: readonly Chain[],
): { readonly image: ImageSpec; readonly store: string }[] => {
  if (selection.kind !== 'policy' || selection.images === null) return [];
  const { images, store } = selection;
  return images
    .filter((image) => !chains.some((chain) => holdsBackupsOf(chain, image)))
    .map((image) => ({ image, store }));
};
