import { randomUUID } from 'node:crypto';
import { FerryError } from '@rbdferry/core/errors/ferry-error.js';
import type { OpenedPush, PushIntent } from '../store/port.js';

export interface OpenTransfer {
  readonly client: string;
  readonly intent: PushIntent;
  readonly push: OpenedPush;
}

/** Transfers that were opened and whose stream has not begun; each is discarded when nobody comes for it. */
export class OpenTransfers {
  readonly #waiting = new Map<string, OpenTransfer & { timer: NodeJS.Timeout }>();
  readonly #waitMs: number;

  constructor(waitMs = 60_000) {
    this.#waitMs = waitMs;
  }

  add(transfer: OpenTransfer): string {
    const id = randomUUID();
    const timer = setTimeout(() => {
      this.#waiting.delete(id);
      void transfer.push.discard();
    }, this.#waitMs);
    this.#waiting.set(id, { ...transfer, timer });
    return id;
  }

  /** Hands the transfer over, once. @throws INVALID_REQUEST when there is none of that id for this client */
  take(id: string, client: string): OpenTransfer {
    const transfer = this.#waiting.get(id);
    if (transfer?.client !== client) {
      throw new FerryError(
        'INVALID_REQUEST',
        `there is no open transfer ${JSON.stringify(id)}; it may have waited too long`,
        {
          hint: 'open the push again',
        },
      );
    }
    clearTimeout(transfer.timer);
    this.#waiting.delete(id);
    return transfer;
  }

  /**
   * Discards those of the client that match: what it asks now shows that it will not come for them any more. Without this
   * an agent that died between open and push would find its own chain busy for the rest of the waiting time.
   */
  async discardOf(client: string, matches: (transfer: OpenTransfer) => boolean): Promise<void> {
    const abandoned = [...this.#waiting].filter(([, transfer]) => transfer.client === client && matches(transfer));
    await Promise.all(abandoned.map(([id, transfer]) => this.#discard(id, transfer)));
  }

  /** Discards all of them. */
  async close(): Promise<void> {
    await Promise.all([...this.#waiting].map(([id, transfer]) => this.#discard(id, transfer)));
  }

  #discard(id: string, transfer: OpenTransfer & { timer: NodeJS.Timeout }): Promise<void> {
    clearTimeout(transfer.timer);
    this.#waiting.delete(id);
    return transfer.push.discard();
  }
}
