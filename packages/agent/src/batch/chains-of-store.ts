import { parseBackupId, splitChainName } from '@rbdferry/core/model/backup-id.js';
import type { Chain } from '@rbdferry/core/model/chain.js';
import { newestCommon } from '@rbdferry/core/model/planner.js';
import type { SourceImage } from '../backup/look-at-source.js';

/** All chains of a store, which were listed once, by what a backup of an image looks for. */
export class ChainsOfStore {
  readonly #store: string;
  readonly #byImageName = new Map<string, Chain[]>();
  readonly #bySnap = new Map<string, Chain[]>();

  constructor(store: string, chains: readonly Chain[]) {
    this.#store = store;
    for (const chain of chains) {
      addTo(this.#byImageName, splitChainName(chain.name)?.image ?? chain.name, chain);
      for (const { snap } of chain.backups) addTo(this.#bySnap, snap, chain);
    }
  }

  /** The chains that a look for this image alone finds: of its name, of the image that it was restored from, and else of its snapshots. */
  of({ spec, view }: SourceImage): Chain[] {
    const near = unique([...this.#named(spec.image), ...this.#ancestors(view.lineage?.backupId ?? null)]);
    if (newestCommon(view, near) !== null) return near;
    return unique([...near, ...view.snapshots.flatMap(({ name }) => this.#bySnap.get(name) ?? [])]);
  }

  #named(image: string): readonly Chain[] {
    return this.#byImageName.get(image) ?? [];
  }

  #ancestors(backupId: string | null): readonly Chain[] {
    const parts = backupId === null ? null : parseBackupId(backupId);
    if (parts === null || !parts.ok || parts.value.store !== this.#store) return [];
    return this.#named(splitChainName(parts.value.chain)?.image ?? '');
  }
}

const addTo = (map: Map<string, Chain[]>, key: string, chain: Chain): void => {
  const known = map.get(key);
  if (known === undefined) map.set(key, [chain]);
  else if (known.at(-1) !== chain) known.push(chain);
};

const unique = (chains: readonly Chain[]): Chain[] => [...new Map(chains.map((chain) => [chain.name, chain])).values()];
