import { setTimeout } from 'node:timers/promises';
import { toFerryError } from '@rbdferry/core/errors/ferry-error.js';
import type { Lives } from '@rbdferry/core/transfer/life.js';
import type { TransferStages } from '@rbdferry/core/transfer/transfer-stages.js';
import type { ReceiverClient } from '../receiver-client/receiver-client.js';

/** A transfer that is shorter learns of the other end when it ends. */
const intervalMs = 1_000;

/**
 * Compares with the receiver, beside a transfer, what each end waits for, and whether its rbd is at work. Lasts until the signal; never throws, and whatever
 * becomes of it, the transfer does not notice.
 */
export const followStages = async (
  receiver: Pick<ReceiverClient, 'compareWaits'>,
  transferId: string,
  options: { readonly stages: TransferStages; readonly lives: Lives; readonly signal: AbortSignal },
): Promise<void> => {
  const { signal } = options;
  while (!signal.aborted) {
    try {
      await setTimeout(intervalMs, undefined, { signal });
      await receiver.compareWaits(transferId, options);
    } catch (thrown) {
      // An older receiver does not know the question. Any other failure is the transfer's to find.
      if (toFerryError(thrown).code === 'PROTOCOL_MISMATCH') return;
    }
  }
};
