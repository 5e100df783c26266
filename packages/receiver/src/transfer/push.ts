import { decompressPart } from '@rbdferry/core/compress/decompress.js';
import type { Zstd } from '@rbdferry/core/compress/zstd.js';
import { DiffError } from '@rbdferry/core/diff/diff-error.js';
import { FerryError, throwIfAborted } from '@rbdferry/core/errors/ferry-error.js';
import type { CompressedData, PushRequest } from '@rbdferry/core/gen/rbdferry/v1/transfer.js';
import type { Backup } from '@rbdferry/core/model/chain.js';
import { IncomingStream } from '@rbdferry/core/transfer/incoming-stream.js';
import { Lease } from '@rbdferry/core/transfer/lease.js';
import { mapSomeAhead } from '@rbdferry/core/transfer/map-ahead.js';
import { expectedDiff, streamError } from '@rbdferry/core/transfer/stream-check.js';
import type { Lives } from '@rbdferry/core/transfer/life.js';
import { unlessAborted, watchStall } from '@rbdferry/core/transfer/stall.js';
import type { TransferStages } from '@rbdferry/core/transfer/transfer-stages.js';
import { waitsFromWire } from '@rbdferry/core/wire/convert.js';
import type { OpenedPush, PushIntent } from '../store/port.js';

export interface ReceivePushOptions {
  readonly intent: PushIntent;
  readonly stallMs: number;
  /** Null when this receiver said that it cannot read compressed parts. */
  readonly zstd: Zstd | null;
  readonly stages: TransferStages;
  readonly lives: Lives;
  readonly signal: AbortSignal;
}

/** Frames in work, or ready, while the content of the one before them is written. */
const framesAhead = 2;

/**
 * Receives one diff stream into an opened push: checks every byte of its structure before it is written, holds back the end
 * record, and commits only on the sender's word with the right count and digest. Every other end discards.
 */
export const receivePush = async (
  messages: AsyncIterable<PushRequest>,
  push: OpenedPush,
  options: ReceivePushOptions,
): Promise<Backup> => {
  const { meter } = options.stages;
  const { stallMs: ms, lives } = options;
  try {
    const { source, snap, base } = options.intent;
    const stream = new IncomingStream(expectedDiff(source.layout, { snap, fromSnap: base?.snap ?? null }));
    push.begin(lives.rbd);
    const watched = meter.arriving(watchStall(messages, { ms, what: 'the agent sent no data', life: lives.peer }));
    for await (const { part } of mapSomeAhead(watched, (message) => decoding(options.zstd, message), framesAhead)) {
      if (part?.$case === 'data') {
        const data = Lease.claim(part.value);
        await stream.pass(data.bytes, (body) => meter.leaving(unlessAborted(push.write(body), options.signal)));
        meter.passed(data.bytes.length);
        data.release();
      } else if (part?.$case === 'commit') {
        const facts = stream.finish(part.value);
        options.stages.heard(waitsFromWire(part.value.waits));
        return await meter.leaving(push.commit(facts));
      } else {
        throw new FerryError('INVALID_REQUEST', 'expected data or commit in the push stream');
      }
      throwIfAborted(options.signal);
    }
    throwIfAborted(options.signal);
    throw new FerryError('STREAM_TRUNCATED', `the push ended after ${stream.bytes} bytes without a commit`);
  } catch (thrown) {
    await push.discard();
    throw thrown instanceof DiffError ? streamError(thrown) : thrown;
  }
};

/** @throws STREAM_INVALID, INVALID_REQUEST */
const decoding = (zstd: Zstd | null, { part }: PushRequest): Promise<PushRequest> | undefined =>
  part?.$case === 'zstd' ? decoded(zstd, part.value) : undefined;

const decoded = async (zstd: Zstd | null, part: CompressedData): Promise<PushRequest> => ({
  part: { $case: 'data', value: await decompressPart(zstd, part) },
});
