import { toFerryError } from '@rbdferry/core/errors/ferry-error.js';
import {
  ControlServiceService,
  type ReadBackupRequest,
  type ReadBackupResponse,
} from '@rbdferry/core/gen/rbdferry/v1/control.js';
import { describeStages } from '@rbdferry/core/log/describe-stages.js';
import type { Logger } from '@rbdferry/core/log/logger.js';
import type { MeasuredResult } from '@rbdferry/core/metrics/transfer-metrics.js';
import { encodeData } from '@rbdferry/core/rpc/hot-data.js';
import { Lease } from '@rbdferry/core/transfer/lease.js';
import { TransferStages } from '@rbdferry/core/transfer/transfer-stages.js';
import { backupToWire } from '@rbdferry/core/wire/convert.js';
import type { AgentMetrics } from '../agent-metrics.js';
import type { Place } from '../choose-receiver.js';
import type { AgentConfig } from '../config.js';
import type { JobRunner } from '../jobs/job-runner.js';
import { Progress } from '../jobs/progress.js';
import { limitsOf } from '../jobs/request-limits.js';
import type { ConnectOptions, ReceiverClient } from '../receiver-client/receiver-client.js';
import { chooseBackup, type ChooseDeps } from '../restore/choose-backup.js';
import { readBackup, type ReadPart } from '../restore/read-backup.js';
import { placeOf, wantedOf } from '../restore/wire.js';
import { runningToWire } from './job-wire.js';

export interface ReadBackupDeps extends Pick<ChooseDeps, 'ceph'> {
  readonly config: () => AgentConfig;
  readonly choose: (named: Place) => Place;
  readonly runner: Pick<JobRunner, 'limits'>;
  readonly metrics: Pick<AgentMetrics, 'transfers'>;
  readonly log: Logger;
  readonly connect: (receiver: string, options: ConnectOptions) => Promise<ReceiverClient>;
  readonly signal: AbortSignal;
}

/** The generated definition with the one-copy way for the data that {@link readBackupCall} sends; a MiB was copied about five times. */
export const controlDefinition = {
  ...ControlServiceService,
  readBackup: {
    ...ControlServiceService.readBackup,
    responseSerialize: (message: ReadBackupResponse): Buffer =>
      message.part?.$case === 'data'
        ? encodeData(message.part.value)
        : ControlServiceService.readBackup.responseSerialize(message),
  },
};

/** To be told of each message that was sent: its buffer is used again. */
export const releaseSentData = ({ part }: ReadBackupResponse): void => {
  if (part?.$case === 'data') Lease.releaseSent(part.value);
};

/**
 * Reads a backup for whoever calls, who writes it down himself. It is no job: what is made is his, it ends with his call, and nothing of it is
 * left to be settled or gone on with. So it stands in no list and takes no slot; limits, stall watch, metrics and log are those of a restore.
 */
export async function* readBackupCall(
  request: ReadBackupRequest,
  deps: ReadBackupDeps,
): AsyncGenerator<ReadBackupResponse, void, undefined> {
  const wanted = wantedOf(request);
  const place = placeOf(wanted, request, deps.choose);
  const { limitBytesPerSecond } = limitsOf({ limitBytesPerSecond: request.limitBytesPerSecond, attempts: 1 });
  const limits = deps.runner.limits(place.receiver, limitBytesPerSecond ?? null);
  const { ceph, signal } = deps;
  const receiver = await deps.connect(place.receiver, { signal, readsWithin: limits });
  try {
    const id = await chooseBackup(wanted, place.store, { ceph, receiver, signal });
    const reading = new Reading(id, deps);
    const { stages, progress } = reading;
    const stallMs = deps.config().stall_timeout;
    const parts = readBackup(id, { receiver, stages, progress, limits, stallMs, signal });
    for await (const part of reading.watch(parts)) yield { part: partToWire(part, stages) };
  } finally {
    receiver.close();
  }
}

/** One reading, as metrics and log see it. */
class Reading {
  readonly stages = new TransferStages('taker');
  readonly progress = new Progress();
  readonly #id: string;
  readonly #deps: Pick<ReadBackupDeps, 'metrics' | 'log' | 'signal'>;

  constructor(id: string, deps: Pick<ReadBackupDeps, 'metrics' | 'log' | 'signal'>) {
    this.#id = id;
    this.#deps = deps;
  }

  async *watch(parts: AsyncIterable<ReadPart>): AsyncGenerator<ReadPart, void, undefined> {
    const { metrics, log, signal } = this.#deps;
    const startedMs = performance.now();
    const end = metrics.transfers.begin({ kind: 'restore', direction: 'received' }, this.stages);
    // So it is when whoever asked goes away while he has the last part in hand.
    let result: MeasuredResult = 'cancelled';
    try {
      yield* this.stages.meter.departing(parts);
      result = 'ok';
    } catch (thrown) {
      result = signal.aborted ? 'cancelled' : 'failed';
      throw toFerryError(thrown);
    } finally {
      end(result);
      const durationMs = Math.round(performance.now() - startedMs);
      const wireBytes = this.progress.wireBytes;
      log.info({ backup: this.#id, result, durationMs, wireBytes, ...describeStages(this.stages.view) }, 'backup read');
    }
  }
}

const partToWire = (part: ReadPart, stages: TransferStages): ReadBackupResponse['part'] => {
  switch (part.kind) {
    case 'backup':
      return { $case: 'backup', value: backupToWire(part.backup) };
    case 'data':
      return { $case: 'data', value: part.content.bytesForMessage };
    case 'progress':
      return {
        $case: 'running',
        value: runningToWire({
          phase: 'transfer',
          cancelling: false,
          progress: part.progress,
          stages: stages.view,
          waitsFor: null,
        }),
      };
    case 'end':
      return {
        $case: 'end',
        value: { streamBytes: part.end.streamBytes, streamGmac: Buffer.from(part.end.streamGmac) },
      };
  }
};
