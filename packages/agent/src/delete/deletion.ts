import type { CephPort } from '@rbdferry/core/ceph/port.js';
import { FerryError, toFerryError } from '@rbdferry/core/errors/ferry-error.js';
import type { ErrorCode } from '@rbdferry/core/errors/registry.js';
import type { BackupId } from '@rbdferry/core/model/backup-id.js';
import type { Gone, ReceiverClient } from '../receiver-client/receiver-client.js';
import type { DeletionEnd } from './deletion-end.js';
import { removeSourceSnapshots } from './source-snapshots.js';

/** Answers of a receiver after which nothing has been removed, or no more than was before. */
const refusals: ReadonlySet<ErrorCode> = new Set([
  'BACKUP_NOT_FOUND',
  'BACKUP_IN_USE',
  'BACKUP_HELD',
  'IMAGE_BUSY',
  'IMAGE_IN_USE',
  'STORE_NOT_FOUND',
  'ACCESS_DENIED',
  'INVALID_REQUEST',
  'INVALID_BACKUP_ID',
  'PROTOCOL_MISMATCH',
]);

export const isRefusal = (error: FerryError): boolean => refusals.has(error.code);

type Receiver = Pick<ReceiverClient, 'deleteBackup' | 'deleteChain'>;

/** Removes one backup, or a chain, at the receiver. Nobody breaks it off: whoever asked may go away. */
export const removeAtReceiver = (
  { chain, store, ids }: Pick<DeletionEnd, 'chain' | 'store' | 'ids'>,
  receiver: Receiver,
  dryRun: boolean,
): Promise<Gone> => {
  const [id] = ids;
  if (chain !== null) return receiver.deleteChain(store, chain, dryRun, {});
  if (id === undefined) throw new FerryError('INTERNAL', 'a deletion of nothing');
  return receiver.deleteBackup(id, dryRun, {});
};

/**
 * Finishes a deletion that was begun: at the receiver, where everything may be gone already, then on the source. Never throws for what
 * cannot go: that is a backup as before. @throws when it cannot be finished now
 */
export const finishDeletion = async (
  end: DeletionEnd,
  { receiver, ceph }: { readonly receiver: Receiver; readonly ceph: Pick<CephPort, 'removeSnapshot'> },
): Promise<void> => {
  const stays = await whatStays(end, receiver);
  await removeSourceSnapshots(
    ceph,
    end.snapshots.filter(({ backupId }) => !stays.has(backupId)),
  );
};

const whatStays = async (end: DeletionEnd, receiver: Receiver): Promise<ReadonlySet<BackupId>> => {
  try {
    const { kept } = await removeAtReceiver(end, receiver, false);
    return new Set(kept.map(({ id }) => id));
  } catch (thrown) {
    const error = toFerryError(thrown);
    if (error.code === 'BACKUP_NOT_FOUND') return new Set();
    if (error.code === 'IMAGE_BUSY' || !isRefusal(error)) throw error;
    return new Set(end.ids);
  }
};
