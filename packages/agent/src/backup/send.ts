import { createHash } from 'node:crypto';
import type { ByteSource } from '@rbdferry/core/ceph/port.js';
import { FerryError } from '@rbdferry/core/errors/ferry-error.js';
import { watchStall, withinStallTime } from '@rbdferry/core/transfer/stall.js';
import type { Backup } from '@rbdferry/core/model/chain.js';
import type { Push } from '../receiver-client/receiver-client.js';

export interface SendOptions {
  readonly stallMs: number;
  readonly onBytes: (bytes: number) => void;
  /** Called before the commit goes out: from then on only the receiver knows whether there is a backup. */
  readonly onCommit: () => void;
}

/**
 * Sends a whole diff stream and commits it. When it throws, the push has been cancelled; whether the receiver committed is
 * unknown once `onCommit` was called.
 */
export const sendDiff = async (source: ByteSource, push: Push, options: SendOptions): Promise<Backup> => {
  const hash = createHash('sha256');
  let streamBytes = 0n;
  try {
    const chunks = watchStall(source, options.stallMs, 'rbd export-diff sent no data');
    for await (const data of chunks) {
      const sent = push.send(data);
      hash.update(data);
      streamBytes += BigInt(data.length);
      await withinStallTime(sent, options.stallMs, 'the receiver took no data');
      options.onBytes(data.length);
    }
    const streamSha256 = hash.digest();
    options.onCommit();
    const answer = push.commit({ streamBytes, streamSha256 });
    const backup = await withinStallTime(answer, options.stallMs, 'the receiver did not commit');
    if (backup.streamBytes !== streamBytes || !streamSha256.equals(backup.streamSha256)) {
      throw new FerryError('DIGEST_MISMATCH', 'the receiver committed something else than was sent');
    }
    return backup;
  } catch (thrown) {
    push.cancel();
    throw thrown;
  }
};
