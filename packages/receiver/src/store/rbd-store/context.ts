import type { CephPort } from '@rbdferry/core/ceph/port.js';
import { setTimeout } from 'node:timers/promises';
import { FerryError, toFerryError } from '@rbdferry/core/errors/ferry-error.js';
import type { KeyedLock, Release } from '@rbdferry/core/lifecycle/keyed-lock.js';
import type { Logger } from '@rbdferry/core/log/logger.js';
import { formatBackupId, type BackupIdParts, type ChainName } from '@rbdferry/core/model/backup-id.js';
import type { Backup } from '@rbdferry/core/model/chain.js';
import type { PoolSpec } from '@rbdferry/core/model/image-spec.js';
import type { ChainReader, ChainView } from './chain-reader.js';

/** What the parts of an RBD store share. */
export interface StoreContext {
  readonly name: string;
  readonly pool: PoolSpec;
  readonly ceph: CephPort;
  readonly reader: ChainReader;
  /** By chain for what changes it, by {@link readersOf} for what reads its snapshots. */
  readonly locks: KeyedLock;
  readonly log: Logger;
  /** Milliseconds since 1970. */
  readonly now: () => number;
}

export interface Options {
  readonly signal?: AbortSignal | undefined;
}

/** Key of the lock that pulls share and removals hold alone. */
export const readersOf = (chain: ChainName): string => `readers of ${chain}`;

/** How long to wait for another transfer with the same chain to end. */
const lockWaitMs = 60_000;

/** @throws IMAGE_BUSY when somebody holds it for longer than a moment */
export const lockWithin = async (
  context: StoreContext,
  key: string,
  chain: ChainName,
  { signal }: Options,
): Promise<Release> => {
  const waited = AbortSignal.timeout(lockWaitMs);
  const either = signal === undefined ? waited : AbortSignal.any([signal, waited]);
  try {
    return await context.locks.acquire(key, { signal: either });
  } catch (thrown) {
    if (!waited.aborted) throw thrown;
    throw new FerryError('IMAGE_BUSY', `another transfer with ${chain} is under way`, { cause: thrown });
  }
};

const busyTries = 5;
const busyWaitMs = 1_000;

/** Removes an image. A listing of ours that looks at it just now counts as a user of it for a moment. @throws IMAGE_IN_USE */
export const removeImage = async ({ ceph, reader }: StoreContext, name: string, options: Options): Promise<boolean> => {
  reader.forget(name);
  for (let tries = 1; ; tries += 1) {
    try {
      return await ceph.remove(reader.image(name), options);
    } catch (thrown) {
      if (tries === busyTries || toFerryError(thrown).code !== 'IMAGE_IN_USE') throw thrown;
      await setTimeout(busyWaitMs, undefined, { signal: options.signal });
    }
  }
};

/** @throws BACKUP_NOT_FOUND */
export const findBackup = (view: ChainView, id: BackupIdParts): Backup => {
  const found = view.chain.backups.find((backup) => backup.snap === id.snap);
  if (found !== undefined) return found;
  throw noBackup(id);
};

export const noBackup = (id: BackupIdParts): FerryError =>
  new FerryError('BACKUP_NOT_FOUND', `there is no backup ${formatBackupId(id)}`);
