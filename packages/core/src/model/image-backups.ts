import { splitChainName } from './backup-id.js';
import type { Backup, Chain, SourceIdentity } from './chain.js';
import { formatImageSpec, sameSpec, type ImageSpec } from './image-spec.js';

/** What of a chain matters here. */
type ChainOfBackups = Pick<Chain, 'name' | 'backups'>;

/** The backups of one image. */
export interface ImageBackups<C extends ChainOfBackups> {
  /** Null for backups of the older tool: nobody knows their pool. */
  readonly source: Pick<SourceIdentity, 'fsid' | 'image'> | null;
  /** The chains that hold backups of the image, each with these backups only; in the order given. */
  readonly chains: readonly C[];
}

/**
 * Backups by the image that each one is of, as its own source says (cluster, pool, namespace, name). A chain may hold backups of
 * several images: a restored copy goes on in the chain of the original, and a renamed image in its own chain under the new name. Those
 * of the older tool go by the image's name alone.
 */
export const byImage = <C extends ChainOfBackups>(chains: readonly C[]): ImageBackups<C>[] => {
  const groups = new Map<string, { source: ImageBackups<C>['source']; chains: C[] }>();
  for (const chain of chains) {
    for (const [key, backups] of backupsByKey(chain)) {
      const group = groups.get(key) ?? { source: backups[0]?.source?.identity ?? null, chains: [] };
      group.chains.push({ ...chain, backups });
      groups.set(key, group);
    }
  }
  return [...groups.values()];
};

/** Chains with only the backups of images of this name, of whatever cluster; chains without such backups are left out. */
export const ofImage = <C extends ChainOfBackups>(chains: readonly C[], image: ImageSpec): C[] =>
  chains
    .map((chain) => ({ ...chain, backups: chain.backups.filter((backup) => isOfImage(backup, image)) }))
    .filter(({ backups }) => backups.length > 0);

/** Whether it says itself that it is a backup of such an image. */
export const isOfImage = ({ source }: Pick<Backup, 'source'>, image: ImageSpec): boolean =>
  source !== null && sameSpec(source.identity.image, image);

/** The images that the backups of these chains are of, each once. */
export const imagesOf = (chains: readonly ChainOfBackups[]): ImageSpec[] => {
  const images = new Map<string, ImageSpec>();
  for (const { backups } of chains) {
    for (const { source } of backups)
      if (source !== null) images.set(formatImageSpec(source.identity.image), source.identity.image);
  }
  return [...images.values()];
};

const backupsByKey = (chain: ChainOfBackups): Map<string, Backup[]> => {
  const groups = new Map<string, Backup[]>();
  for (const backup of chain.backups) {
    const key = imageKey(chain, backup);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [backup]);
    else group.push(backup);
  }
  return groups;
};

const imageKey = (chain: ChainOfBackups, { source }: Backup): string =>
  source === null
    ? `legacy ${splitChainName(chain.name)?.image ?? chain.name}`
    : `${source.identity.fsid} ${formatImageSpec(source.identity.image)}`;
