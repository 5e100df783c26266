import type { Chain } from '@rbdferry/core/model/chain.js';
import type { Store } from '@rbdferry/receiver/store/port.js';
import { expect } from 'vitest';
import { partsOf, sha256OfRestored } from '../recipes/store.js';
import type { Sender } from './sender.js';

export const notFound = expect.objectContaining({ code: 'BACKUP_NOT_FOUND' }) as Error;

/** Chains of one image. */
export const chainsOf = async (store: Store, image: string): Promise<Chain[]> => {
  const chains: Chain[] = [];
  for await (const chain of store.chains(image, {})) chains.push(chain);
  return chains;
};

/** Ids of an image's backups, each of which gives back the content of the snapshot that it was made of. */
export const wholeBackups = async (store: Store, sender: Sender, image: string): Promise<string[]> => {
  const backups = (await chainsOf(store, image)).flatMap((chain) => chain.backups);
  for (const backup of backups) {
    const id = partsOf(backup.id);
    expect({ id, sha256: await sha256OfRestored(store, id) }).toEqual({ id, sha256: sender.sha256Of(backup.snap) });
    expect(await store.backup(id, {})).toEqual(backup);
  }
  return backups.map(({ id }) => id);
};
