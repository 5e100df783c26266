import type { CephPort } from '@rbdferry/core/ceph/port.js';
import { FerryError, throwIfAborted } from '@rbdferry/core/errors/ferry-error.js';
import { snapTime, splitChainName, timestampToMs, type BackupId } from '@rbdferry/core/model/backup-id.js';
import type { Backup } from '@rbdferry/core/model/chain.js';
import { formatImageSpec, type ImageSpec } from '@rbdferry/core/model/image-spec.js';
import { clockToleranceMs } from '@rbdferry/core/model/name-time.js';
import { clustersOf, newestNotAfter, restorable } from '@rbdferry/core/model/newest-backup.js';
import type { NamedBackup } from '@rbdferry/core/wire/short-id.js';
import { collect } from '../backup/look-at-source.js';
import { requireOnSource } from '../backup/require-on-source.js';
import { wholeIds } from '../backup-ids.js';
import type { ReceiverClient } from '../receiver-client/receiver-client.js';

/** What somebody wants back. */
export type Wanted =
  | { readonly kind: 'backup'; readonly named: NamedBackup }
  /** The newest backup of the image that holds it as it was at a moment (milliseconds since 1970), or the newest of all. */
  | { readonly kind: 'image'; readonly image: ImageSpec; readonly atMs: number | null };

export interface ChooseDeps {
  readonly ceph: Pick<CephPort, 'info' | 'fsid'>;
  readonly receiver: Pick<ReceiverClient, 'chains' | 'now'>;
  readonly signal: AbortSignal;
}

/**
 * The one backup that is meant, by one listing of the store or less. Nothing is changed.
 *
 * @throws BACKUP_NOT_FOUND, BACKUP_AMBIGUOUS, IMAGE_NOT_FOUND, INVALID_REQUEST, the failure of a chain that could not be read
 */
export const chooseBackup = async (wanted: Wanted, store: string, deps: ChooseDeps): Promise<BackupId> => {
  if (wanted.kind === 'image') return newestOf(wanted.image, { store, atMs: wanted.atMs }, deps);
  const [id] = await wholeIds([wanted.named], [store], deps);
  if (id === undefined) throw new FerryError('INTERNAL', 'a backup that was named has no id');
  return id;
};

const newestOf = async (
  image: ImageSpec,
  { store, atMs }: { readonly store: string; readonly atMs: number | null },
  deps: ChooseDeps,
): Promise<BackupId> => {
  const { ceph, receiver, signal } = deps;
  const nowMs = receiver.now();
  if (atMs !== null && atMs > nowMs + clockToleranceMs) {
    throw new FerryError('INVALID_REQUEST', `the time ${timeText(atMs)} lies in the future`, {
      hint: 'correct the time; --latest takes the newest backup',
    });
  }
  const chains = restorable(await chainsFor(image, store, deps), image);
  const fsid = clustersOf(chains).size > 1 ? await fsidOf(ceph, signal) : null;
  const choice = newestNotAfter(chains, { atMs, nowMs, fsid });
  const name = JSON.stringify(formatImageSpec(image));
  switch (choice.kind) {
    case 'chosen':
      return choice.backup.id;
    case 'none':
      await requireOnSource(image, { ceph, store, signal });
      throw new FerryError('BACKUP_NOT_FOUND', `there is no backup of ${name} in store ${JSON.stringify(store)}`);
    case 'too-early':
      throw new FerryError(
        'BACKUP_NOT_FOUND',
        `the oldest backup of ${name} in store ${JSON.stringify(store)} is from after ${timeText(atMs ?? nowMs)}: ${described(choice.oldest)}`,
        {
          hint: `\`rbdferry list ${formatImageSpec(image)}\` prints those that there are; --store names another store`,
        },
      );
    case 'several':
      throw new FerryError(
        'BACKUP_AMBIGUOUS',
        `several clusters have backups of ${name}, and which one is meant is not known: ${choice.newest.map(described).join(', ')}`,
        { hint: 'name the backup by its id' },
      );
  }
};

/** Chains that may hold backups of the image. One that cannot be read may hold the very backup, and an older one is not what was asked for. */
const chainsFor = (image: ImageSpec, store: string, { receiver, signal }: ChooseDeps) =>
  collect(
    receiver.chains(store, image.image, {
      signal,
      onUnreadable: ({ name, error }) => {
        const of = splitChainName(name)?.image;
        if (of !== undefined && of !== image.image) return;
        throw new FerryError(error.code, `what is newest is not known, a chain cannot be read: ${error.message}`, {
          hint: `${error.hint}; or name a backup by its id`,
          cause: error,
        });
      },
    }),
  );

/** Null when the cluster cannot be asked: a restore to a file needs none. */
const fsidOf = async (ceph: Pick<CephPort, 'fsid'>, signal: AbortSignal): Promise<string | null> => {
  try {
    return await ceph.fsid({ signal });
  } catch {
    throwIfAborted(signal);
    return null;
  }
};

const described = ({ id, snap }: Backup): string => {
  const time = snapTime(snap);
  return time === undefined ? id : `${id} (${timeText(timestampToMs(time))})`;
};

const timeText = (ms: number): string => `${new Date(ms).toISOString().slice(0, 19)}Z`;
