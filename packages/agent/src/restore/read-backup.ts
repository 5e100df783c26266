import { randomUUID } from 'node:crypto';
import { DiffError } from '@rbdferry/core/diff/diff-error.js';
import { FerryError, throwIfAborted } from '@rbdferry/core/errors/ferry-error.js';
import type { BackupId } from '@rbdferry/core/model/backup-id.js';
import type { Backup, StreamEnd } from '@rbdferry/core/model/chain.js';
import { IncomingStream } from '@rbdferry/core/transfer/incoming-stream.js';
import type { Lease } from '@rbdferry/core/transfer/lease.js';
import { PeerLife, RbdLife } from '@rbdferry/core/transfer/life.js';
import { paced } from '@rbdferry/core/transfer/paced.js';
import { wireBytesOf } from '@rbdferry/core/transfer/piece.js';
import { watchStall } from '@rbdferry/core/transfer/stall.js';
import { expectedDiff, streamError } from '@rbdferry/core/transfer/stream-check.js';
import type { TransferStages } from '@rbdferry/core/transfer/transfer-stages.js';
import { followStages } from '../jobs/follow-stages.js';
import type { Progress, ProgressView } from '../jobs/progress.js';
import type { JobLimits } from '../limits.js';
import type { ReceiverClient } from '../receiver-client/receiver-client.js';
import { layoutOf } from './target.js';

/** What is told of a backup that is read, in this order: what it is, its stream with figures in between, and the end when it was whole. */
export type ReadPart =
  | { readonly kind: 'backup'; readonly backup: Backup }
  /** A piece of the stream. The lease becomes the taker's. */
  | { readonly kind: 'data'; readonly content: Lease }
  | { readonly kind: 'progress'; readonly progress: ProgressView }
  | { readonly kind: 'end'; readonly end: StreamEnd };

export interface ReadDeps {
  readonly receiver: Pick<ReceiverClient, 'backup' | 'pull' | 'compareWaits'>;
  readonly stages: TransferStages;
  readonly progress: Progress;
  readonly limits: JobLimits;
  /** How long either side may be silent, in milliseconds. */
  readonly stallMs: number;
  readonly signal: AbortSignal;
}

const progressMs = 500;

/**
 * A backup's whole content as its diff stream, for somebody who writes it down himself. It is checked as a restore checks it: each byte of
 * structure before it is handed on, count and digest before the end is told. So whoever got no `end` has no backup.
 *
 * Somebody who takes nothing for the stall time is given up: the receiver is let go of at once, and the next part is the error.
 *
 * @throws BACKUP_NOT_FOUND, STREAM_*, DIGEST_MISMATCH, TRANSFER_STALLED, CONNECTION_LOST, the signal's reason
 */
export async function* readBackup(id: BackupId, deps: ReadDeps): AsyncGenerator<ReadPart, void, undefined> {
  const { receiver, stages, progress, limits, stallMs } = deps;
  const backup = await receiver.backup(id, { signal: deps.signal });
  yield { kind: 'backup', backup };
  const ending = new AbortController();
  const signal = AbortSignal.any([deps.signal, ending.signal]);
  const taken = new TakerWatch(stallMs, ending);
  try {
    yield* taken.watch(contentOf(backup, { receiver, stages, progress, limits, stallMs, signal }, taken.life), signal);
  } catch (thrown) {
    throw thrown instanceof DiffError ? streamError(thrown) : thrown;
  } finally {
    ending.abort(new FerryError('CANCELLED', 'the transfer has ended'));
  }
}

async function* contentOf(
  backup: Backup,
  { receiver, stages, progress, limits, stallMs, signal }: ReadDeps,
  rbd: RbdLife,
): AsyncGenerator<ReadPart, void, undefined> {
  const { meter } = stages;
  const incoming = new IncomingStream(expectedDiff(layoutOf(backup), { snap: backup.snap, fromSnap: null }));
  let trailer: StreamEnd | undefined;
  const told = {
    onTrailer: (end: StreamEnd) => {
      trailer = end;
    },
    onEstimate: (bytes: bigint) => {
      progress.estimate(Number(bytes));
    },
  };
  const lives = { rbd, peer: new PeerLife('receiver') };
  const transferId = randomUUID();
  void followStages(receiver, transferId, { stages, lives, signal });
  const pulled = receiver.pull(backup.id, told, { signal, stages, transferId, limits });
  const stream = watchStall(pulled, { ms: stallMs, what: 'the receiver sent no data', life: lives.peer });
  let toldMs = 0;
  for await (const piece of paced(meter.arriving(stream), limits.buckets, { signal, meter })) {
    const { bytes } = piece.content;
    const before = incoming.coveredBytes;
    await incoming.pass(bytes, () => Promise.resolve());
    meter.passed(bytes.length);
    progress.addWire(wireBytesOf(piece));
    progress.add(Number(incoming.coveredBytes - before));
    yield { kind: 'data', content: piece.content };
    if (performance.now() - toldMs < progressMs) continue;
    toldMs = performance.now();
    yield { kind: 'progress', progress: progress.view() };
  }
  const { streamBytes, streamGmac } = incoming.finish(trailer);
  yield { kind: 'end', end: { streamBytes, streamGmac } };
}

/** The longest time that a timer of Node takes. */
const maxTimerMs = 2 ** 31 - 1;

/** Watches that somebody takes what he is given. */
class TakerWatch {
  /** He is at work as long as he takes; he stands where a restore has its rbd. */
  readonly life = new RbdLife('production');
  readonly #ms: number;
  readonly #ending: AbortController;

  constructor(ms: number, ending: AbortController) {
    this.#ms = ms;
    this.#ending = ending;
  }

  async *watch(parts: AsyncIterable<ReadPart>, signal: AbortSignal): AsyncGenerator<ReadPart, void, undefined> {
    for await (const part of parts) {
      const timer = setTimeout(
        () => {
          this.#giveUp();
        },
        Math.min(this.#ms, maxTimerMs),
      );
      try {
        yield part;
      } finally {
        clearTimeout(timer);
      }
      this.life.sign();
      throwIfAborted(signal);
    }
  }

  #giveUp(): void {
    const message = `the command that asked for the backup took no data for ${Math.round(this.#ms / 1000)} s`;
    const hint = 'it was stopped, or what it writes to takes nothing: look at the disk, or at the reader of the pipe';
    this.#ending.abort(new FerryError('TRANSFER_STALLED', message, { hint }));
  }
}
