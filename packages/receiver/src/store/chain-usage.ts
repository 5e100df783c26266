import { toFerryError } from '@rbdferry/core/errors/ferry-error.js';
import type { SnapName } from '@rbdferry/core/model/backup-id.js';
import { chainSource, type BackupUsage, type ChainUsage } from '@rbdferry/core/model/chain.js';
import type { FoundChain, StoreDriver } from './driver.js';
import { isAway } from './is-away.js';
import type { LookOptions, Options } from './port.js';

/** How often a chain is looked at anew because a backup went while it was measured. */
const maxLooks = 5;

/** What a measurement says when a backup, or the whole chain, was removed under it. */
const wentMeanwhile = new Set(['SNAPSHOT_NOT_FOUND', 'IMAGE_NOT_FOUND']);

type Driver<View extends FoundChain> = Pick<StoreDriver<View>, 'addedBytes' | 'look'>;

interface Seen<View extends FoundChain> {
  readonly view: View;
  readonly isActive: boolean;
}

/**
 * What each backup of a chain added. Without backups when the chain has gone meanwhile, or cannot be measured and `onUnreadable` was told
 * of it.
 */
export const chainUsage = async <View extends FoundChain>(
  driver: Driver<View>,
  seen: Seen<View>,
  options: LookOptions,
): Promise<ChainUsage> => {
  try {
    return await measuredChain(driver, seen, options);
  } catch (thrown) {
    const error = toFerryError(thrown);
    if (error.code === 'BACKUP_NOT_FOUND') return usageOf(seen, []);
    if (options.onUnreadable === undefined || options.signal?.aborted === true || isAway(error)) throw error;
    options.onUnreadable({ name: seen.view.chain.name, error });
    return usageOf(seen, []);
  }
};

const measuredChain = async <View extends FoundChain>(
  driver: Driver<View>,
  { view: first, isActive }: Seen<View>,
  options: Options,
): Promise<ChainUsage> => {
  let view = first;
  for (let looks = 1; ; looks += 1) {
    try {
      return usageOf({ view, isActive }, await usageOfEach(driver, view, options));
    } catch (thrown) {
      if (looks === maxLooks || !wentMeanwhile.has(toFerryError(thrown).code)) throw thrown;
    }
    view = await driver.look(view.chain.name, options);
  }
};

const usageOfEach = async <View extends FoundChain>(
  driver: Driver<View>,
  view: View,
  options: Options,
): Promise<BackupUsage[]> => {
  const backups: BackupUsage[] = [];
  let previous: SnapName | null = null;
  for (const backup of view.chain.backups) {
    const addedBytes = await driver.addedBytes(view, { backup, previous }, options);
    backups.push({ ...backup, source: backup.source?.identity ?? null, addedBytes });
    previous = backup.snap;
  }
  return backups;
};

const usageOf = <View extends FoundChain>({ view, isActive }: Seen<View>, backups: BackupUsage[]): ChainUsage => {
  const { chain } = view;
  return {
    store: chain.store,
    chain: chain.name,
    source: chainSource(chain),
    client: chain.backups[0]?.client ?? null,
    active: isActive,
    legacy: chain.legacy,
    backups,
  };
};
