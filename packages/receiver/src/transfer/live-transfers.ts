import { toFerryError } from '@rbdferry/core/errors/ferry-error.js';
import type { ErrorCode } from '@rbdferry/core/errors/registry.js';
import type { BackupKind } from '@rbdferry/core/model/chain.js';
import type { TransferEnd } from '@rbdferry/core/model/stages.js';
import type { Lives } from '@rbdferry/core/transfer/life.js';
import { TransferStages } from '@rbdferry/core/transfer/transfer-stages.js';

/** A transfer whose stream is under way. */
export interface LiveTransfer {
  readonly kind: BackupKind | 'restore';
  readonly client: string;
  /** Its name between this client and us; empty for none. */
  readonly id: string;
  readonly backupId: string;
  readonly lives: Lives;
  /** Aborted when the client has gone away. */
  readonly signal: AbortSignal;
}

/** What the client of a transfer may ask about it while it runs, and where goes what the client tells of its own end. */
interface Seen {
  readonly stages: TransferStages;
  readonly lives: Lives;
}

/** How a transfer ended: well, or with this code (CANCELLED when its client gave it up). */
export type TransferResult = { readonly kind: 'ok' } | { readonly kind: 'failed'; readonly code: ErrorCode };

export interface TransferListener {
  /** A transfer has begun. Answers a function that is called once, with the result, when it has ended. */
  begun(transfer: LiveTransfer, stages: TransferStages): (result: TransferResult) => void;
}

/** The transfers that are streaming now. Each client can look up its own by their ids. */
export class LiveTransfers {
  readonly #live = new Map<string, Seen>();
  readonly #listener: TransferListener;

  constructor(listener: TransferListener) {
    this.#listener = listener;
  }

  /** A transfer of this client; undefined when there is none of that id. */
  find(client: string, id: string): Seen | undefined {
    return this.#live.get(keyOf(client, id));
  }

  /** Runs `receive` as a transfer, which is among the live ones until its promise settles. */
  async receiving<T>(transfer: LiveTransfer, receive: (stages: TransferStages) => Promise<T>): Promise<T> {
    const { stages, end } = this.#begin(transfer, 'taker');
    try {
      const received = await receive(stages);
      end({ kind: 'ok' });
      return received;
    } catch (thrown) {
      end(failure(thrown, transfer));
      throw thrown;
    }
  }

  /**
   * Passes on the items of `send` as a transfer, which is among the live ones until the last item was taken. When whoever takes the items
   * stops before the last one, the transfer was cancelled.
   */
  async *sending<T>(
    transfer: LiveTransfer,
    send: (stages: TransferStages) => AsyncIterable<T>,
  ): AsyncGenerator<T, void, undefined> {
    const { stages, end } = this.#begin(transfer, 'sender');
    let result: TransferResult = { kind: 'failed', code: 'CANCELLED' };
    try {
      yield* stages.meter.departing(send(stages));
      result = { kind: 'ok' };
    } catch (thrown) {
      result = failure(thrown, transfer);
      throw thrown;
    } finally {
      end(result);
    }
  }

  /** A client should use another id for each transfer. When it uses one for two at the same time, the id means the first of them. */
  #begin(transfer: LiveTransfer, as: TransferEnd) {
    const key = keyOf(transfer.client, transfer.id);
    const stages = new TransferStages(as);
    const seen = { stages, lives: transfer.lives };
    if (transfer.id !== '' && !this.#live.has(key)) this.#live.set(key, seen);
    const ended = this.#listener.begun(transfer, stages);
    const end = (result: TransferResult) => {
      if (this.#live.get(key) === seen) this.#live.delete(key);
      ended(result);
    };
    return { stages, end };
  }
}

/**
 * When the client has gone away, reading or writing the broken stream fails with some error of Node's or gRPC's that is none of our codes, and
 * so would count as INTERNAL. The client's leaving is what happened: the transfer was cancelled.
 */
const failure = (thrown: unknown, { signal }: LiveTransfer): TransferResult => {
  const { code } = toFerryError(thrown);
  return { kind: 'failed', code: code === 'INTERNAL' && signal.aborted ? 'CANCELLED' : code };
};

const keyOf = (client: string, id: string): string => JSON.stringify([client, id]);
