import { DiffError } from '@rbdferry/core/diff/diff-error.js';
import type { DiffVisitor } from '@rbdferry/core/diff/records.js';
import { FerryError } from '@rbdferry/core/errors/ferry-error.js';
import type { ReadBackupResponse } from '@rbdferry/core/gen/rbdferry/v1/control.js';
import type { Backup, StreamEnd } from '@rbdferry/core/model/chain.js';
import { IncomingStream } from '@rbdferry/core/transfer/incoming-stream.js';
import { Lease } from '@rbdferry/core/transfer/lease.js';
import { expectedDiff, streamError } from '@rbdferry/core/transfer/stream-check.js';
import { backupFromWire } from '@rbdferry/core/wire/convert.js';
import { runningView, type RunningState } from '../view/job.js';
import type { Extent, RawTarget } from './raw-target.js';

export interface Reading {
  /** Told as soon as it is known which backup comes. */
  readonly onBackup: (backup: Backup) => void;
  readonly onProgress: (progress: RunningState) => void | Promise<void>;
}

/** What came. */
export interface ReadIn {
  readonly backup: Backup;
  readonly streamBytes: bigint;
  readonly dataBytes: bigint;
}

/**
 * Writes a backup that the agent reads to a target. What is written is believed only when the agent has said that it was all, and count and
 * digest of what was written are those of what was sent. The target is the caller's to finish or to discard.
 *
 * @throws what the messages throw, STREAM_*, DIGEST_MISMATCH, PROTOCOL_MISMATCH, OUTPUT_FAILED
 */
export const readInto = async (
  messages: AsyncIterable<ReadBackupResponse>,
  target: Pick<RawTarget, 'begin' | 'write'>,
  { onBackup, onProgress }: Reading,
): Promise<ReadIn> => {
  const extents = new ExtentsOfChunk();
  let backup: Backup | undefined;
  let incoming: IncomingStream | undefined;
  let end: StreamEnd | undefined;
  try {
    for await (const { part } of messages) {
      switch (part?.$case) {
        case 'backup':
          backup = backupFromWire(part.value);
          incoming = new IncomingStream({ ...expectedOf(backup), visitor: extents });
          onBackup(backup);
          await target.begin(Number(backup.sizeBytes));
          break;
        case 'data':
          if (incoming === undefined) throw unknownOrder();
          await passOn(Lease.claim(part.value), incoming, () => target.write(extents.take()));
          break;
        case 'running':
          await onProgress(runningView(part.value));
          break;
        case 'end':
          end = part.value;
          break;
        case undefined:
          throw unknownOrder();
      }
    }
    if (backup === undefined || incoming === undefined) throw unknownOrder();
    const { streamBytes, dataBytes } = incoming.finish(end);
    return { backup, streamBytes, dataBytes };
  } catch (thrown) {
    throw thrown instanceof DiffError ? streamError(thrown) : thrown;
  }
};

/** The buffer is used again when it was written; after a failure somebody may still be writing it. */
const passOn = async (content: Lease, incoming: IncomingStream, write: () => Promise<void>): Promise<void> => {
  await incoming.pass(content.bytes, write);
  content.release();
};

const expectedOf = ({ source, sizeBytes, snap }: Backup) =>
  expectedDiff({ ...unstriped, ...source?.layout, sizeBytes }, { snap, fromSnap: null });

/** For backups of the older tool, which wrote no layout down. */
const unstriped = {
  objectSizeBytes: 4 * 1024 * 1024,
  stripeUnitBytes: 4 * 1024 * 1024,
  stripeCount: 1,
  features: [],
  dataPool: null,
};

const unknownOrder = (): FerryError =>
  new FerryError('PROTOCOL_MISMATCH', 'the agent tells something of a backup that this release does not know');

/** The data extents in the chunk that is parsed, as views into it. Zeros are left out: nothing was written there before. */
class ExtentsOfChunk implements DiffVisitor {
  #at = 0;
  #extents: Extent[] = [];

  data(offset: bigint): void {
    this.#at = Number(offset);
  }

  payload(bytes: Uint8Array): void {
    this.#extents.push({ offset: this.#at, bytes });
    this.#at += bytes.length;
  }

  /** Those since the last time. */
  take(): Extent[] {
    const taken = this.#extents;
    this.#extents = [];
    return taken;
  }
}
