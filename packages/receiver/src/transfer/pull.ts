import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { PullResponse } from '@rbdferry/core/gen/rbdferry/v1/transfer.js';
import { watchStall } from '@rbdferry/core/transfer/stall.js';
import type { StageMeter } from '@rbdferry/core/transfer/stage-meter.js';
import { backupToWire, waitsToWire } from '@rbdferry/core/wire/convert.js';
import type { OpenedPull } from '../store/port.js';

/** The messages of one pull: header, data, and a trailer only when the store's stream ended well. */
export async function* sendPull(
  pull: OpenedPull,
  options: { readonly stallMs: number; readonly meter: StageMeter },
): AsyncGenerator<PullResponse, void, undefined> {
  const { stallMs, meter } = options;
  const total = new Total(pull);
  try {
    yield { part: { $case: 'header', value: backupToWire(pull.backup) } };
    const hash = createHash('sha256');
    let bytes = 0n;
    const chunks = watchStall(pull.stream, stallMs, 'rbd export-diff sent no data');
    for await (const data of meter.arriving(chunks)) {
      hash.update(data);
      bytes += BigInt(data.length);
      meter.passed(data.length);
      yield { part: { $case: 'data', value: Buffer.from(data.buffer, data.byteOffset, data.length) } };
      const estimate = total.take();
      if (estimate !== null) yield { part: { $case: 'estimatedBytes', value: estimate } };
    }
    const end = { streamBytes: bytes, streamSha256: hash.digest(), waits: waitsToWire(meter.waits) };
    yield { part: { $case: 'trailer', value: end } };
  } finally {
    await total.close();
    pull.close();
  }
}

/** How long a transfer must last before its total is worth a second look at the image, in milliseconds. */
const estimateAfterMs = 1_000;

/** How much there will be, found out beside the transfer. */
class Total {
  readonly #ending = new AbortController();
  readonly #finding: Promise<void>;
  #bytes: bigint | null = null;

  constructor(pull: OpenedPull) {
    this.#finding = this.#find(pull);
  }

  /** The total, once, when it is known. */
  take(): bigint | null {
    const bytes = this.#bytes;
    this.#bytes = null;
    return bytes;
  }

  async close(): Promise<void> {
    this.#ending.abort();
    await this.#finding;
  }

  async #find(pull: OpenedPull): Promise<void> {
    const { signal } = this.#ending;
    try {
      await sleep(estimateAfterMs, undefined, { signal });
      this.#bytes = await pull.estimate({ signal });
    } catch {
      // The transfer has ended, or will tell what is wrong. Without an answer the total stays unknown.
    }
  }
}
