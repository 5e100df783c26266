import { toFerryError } from '@rbdferry/core/errors/ferry-error.js';
import type { Backup } from '@rbdferry/core/model/chain.js';
import type { ReceiverClient } from '../receiver-client/receiver-client.js';

/** How long a broken job waits to hear what the receiver has: it tries again later, and its user waits for the bad news. */
const answerMs = 30_000;

/** A backup at the receiver, or null when the receiver says that there is none. @throws when it cannot say */
export const findBackup = async (
  receiver: Pick<ReceiverClient, 'backup'>,
  id: Backup['id'],
): Promise<Backup | null> => {
  try {
    return await receiver.backup(id, { timeoutMs: answerMs });
  } catch (thrown) {
    if (toFerryError(thrown).code === 'BACKUP_NOT_FOUND') return null;
    throw thrown;
  }
};
