import type { ByteSource } from '@rbdferry/core/ceph/port.js';
import { StreamDigest } from '@rbdferry/core/transfer/stream-digest.js';
import { FerryError } from '@rbdferry/core/errors/ferry-error.js';
import type { Backup, StreamEnd } from '@rbdferry/core/model/chain.js';
import { outgoing, type OutgoingOptions } from '@rbdferry/core/transfer/outgoing.js';
import { wireBytesOf } from '@rbdferry/core/transfer/piece.js';
import type { Lease } from '@rbdferry/core/transfer/lease.js';
import type { StageMeter } from '@rbdferry/core/transfer/stage-meter.js';
import type { Life, Lives } from '@rbdferry/core/transfer/life.js';
import { watchStall, withinStallTime } from '@rbdferry/core/transfer/stall.js';
import type { Push } from '../receiver-client/receiver-client.js';

export interface SendOptions extends OutgoingOptions {
  readonly stallMs: number;
  readonly lives: Lives;
  readonly meter: StageMeter;
  /** Bytes of the diff as the source gives it. */
  readonly onRead: (bytes: number) => void;
  /** Bytes that went over the wire: less, without zeros and compressed. */
  readonly onSent: (wireBytes: number) => void;
  /** Called before the commit goes out: from then on only the receiver knows whether there is a backup. */
  readonly onCommit: (sent: StreamEnd) => void;
}

/**
 * Sends a whole diff stream and commits it. When it throws, the push has been cancelled; whether the receiver committed is
 * unknown once `onCommit` was called.
 */
export const sendDiff = async (source: ByteSource, push: Push, options: SendOptions): Promise<Backup> => {
  const { meter, lives } = options;
  const watch = (what: string, life: Life) => ({ ms: options.stallMs, what, life });
  const digest = new StreamDigest();
  let streamBytes = 0n;
  try {
    const chunks = watchStall(counted(source, options.onRead), watch('rbd export-diff sent no data', lives.rbd));
    for await (const piece of outgoing(meter.arriving(chunks), options)) {
      const [bytes, wireBytes] = [piece.content.bytes.length, wireBytesOf(piece)];
      digest.update(piece.content.bytes);
      streamBytes += BigInt(bytes);
      const sent = push.send(piece);
      await meter.leaving(withinStallTime(sent, watch('the receiver took no data', lives.peer)));
      meter.passed(bytes);
      options.onSent(wireBytes);
    }
    const streamGmac = digest.digest();
    const sent = { streamBytes, streamGmac };
    options.onCommit(sent);
    const answer = push.commit(sent);
    const backup = await meter.leaving(withinStallTime(answer, watch('the receiver did not commit', lives.peer)));
    if (!isBackupOf(backup, sent)) {
      throw new FerryError('DIGEST_MISMATCH', 'the receiver committed something else than was sent');
    }
    return backup;
  } catch (thrown) {
    push.cancel();
    throw thrown;
  }
};

async function* counted(source: ByteSource, onBytes: (bytes: number) => void): AsyncGenerator<Lease, void, undefined> {
  for await (const chunk of source) {
    onBytes(chunk.bytes.length);
    yield chunk;
  }
}

/** Whether a backup was made of the stream that was sent. */
export const isBackupOf = (backup: Backup, sent: StreamEnd): boolean =>
  backup.streamBytes === sent.streamBytes && Buffer.compare(backup.streamGmac, sent.streamGmac) === 0;
