import type { Readable, Writable } from 'node:stream';

/**
 * Messages that a call queues, for reading and for writing. Node's own measure is sixteen objects: of a MiB each, they are memory
 * without a use, for windows and sockets hold what keeps a transfer going.
 */
const queuedMessages = 4;

interface QueueState {
  highWaterMark: number;
}

/** Narrows the queues of a call of grpc-js, which lets nobody say it when it makes them: hence Node's private parts. */
export const queueFew = (call: Readable | Writable): void => {
  const { _readableState, _writableState } = call as unknown as Partial<
    Record<'_readableState' | '_writableState', QueueState>
  >;
  for (const state of [_readableState, _writableState]) if (state !== undefined) state.highWaterMark = queuedMessages;
};
