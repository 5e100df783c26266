import { createHash } from 'node:crypto';
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
    }
    const end = { streamBytes: bytes, streamSha256: hash.digest(), waits: waitsToWire(meter.waits) };
    yield { part: { $case: 'trailer', value: end } };
  } finally {
    pull.close();
  }
}
