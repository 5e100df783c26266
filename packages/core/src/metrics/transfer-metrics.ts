import { Counter, Gauge, type Registry } from 'prom-client';
import { stageNames, type Stage } from '../model/stages.js';
import type { TransferStages } from '../transfer/transfer-stages.js';

export interface MeasuredTransfer {
  readonly kind: (typeof kinds)[number];
  /** Which way the diff stream goes, as this daemon sees it. */
  readonly direction: 'sent' | 'received';
}

/** How a transfer, or a job, may end. */
export const measuredResults = ['ok', 'failed', 'cancelled'] as const;
export type MeasuredResult = (typeof measuredResults)[number];

const kinds = ['full', 'incremental', 'restore'] as const;

/** Called once, at the transfer's end. */
export type EndMeasuring = (result: MeasuredResult) => void;

interface Live extends MeasuredTransfer {
  readonly stages: TransferStages;
  /** What was counted already. */
  bytes: number;
  readonly waitedMs: Record<Stage, number>;
}

/** The metrics of transfers, the same on both daemons. A transfer under way is counted as far as it has come. */
export class TransferMetrics {
  readonly #ended: Counter<'kind' | 'result'>;
  readonly #bytes: Counter<'direction'>;
  readonly #waited: Counter<'kind' | 'stage'>;
  readonly #live = new Set<Live>();

  constructor(prefix: string, registry: Registry) {
    const registers = [registry];
    const countLive = () => {
      for (const live of this.#live) this.#count(live);
    };
    this.#ended = new Counter({
      name: `${prefix}transfers_total`,
      help: 'Transfers that have ended.',
      labelNames: ['kind', 'result'],
      registers,
    });
    // Prometheus does not count what a series is born with: so each one is there before its first event.
    for (const kind of kinds) for (const result of measuredResults) this.#ended.inc({ kind, result }, 0);
    this.#bytes = new Counter({
      name: `${prefix}transfer_bytes_total`,
      help: 'Bytes of diff streams sent and received.',
      labelNames: ['direction'],
      registers,
      collect: countLive,
    });
    this.#waited = new Counter({
      name: `${prefix}stage_wait_seconds_total`,
      help: 'Seconds that transfers waited for each stage; the bottleneck is the stage with the most.',
      labelNames: ['kind', 'stage'],
      registers,
      collect: countLive,
    });
    const live = this.#live;
    registry.registerMetric(
      new Gauge({
        name: `${prefix}transfers_open`,
        help: 'Transfers under way.',
        labelNames: ['kind'],
        registers: [],
        collect() {
          for (const kind of kinds) {
            this.set({ kind }, [...live].filter((each) => each.kind === kind).length);
          }
        },
      }),
    );
  }

  begin(transfer: MeasuredTransfer, stages: TransferStages): EndMeasuring {
    const live: Live = { ...transfer, stages, bytes: 0, waitedMs: { source: 0, wire: 0, target: 0, limit: 0 } };
    this.#live.add(live);
    return (result) => {
      if (!this.#live.delete(live)) return;
      this.#count(live);
      this.#add(live.kind, 'unknown', stages.unexplainedMs);
      this.#ended.inc({ kind: live.kind, result });
    };
  }

  /** Adds what has come since the last look. What looks like less than before (the wire is a difference) adds nothing. */
  #count(live: Live): void {
    const { bytes } = live.stages.meter.waits;
    this.#bytes.inc({ direction: live.direction }, bytes - live.bytes);
    live.bytes = bytes;
    const { view } = live.stages;
    for (const stage of stageNames) {
      const waitedMs = view[stage]?.waitedMs ?? 0;
      if (waitedMs <= live.waitedMs[stage]) continue;
      this.#add(live.kind, stage, waitedMs - live.waitedMs[stage]);
      live.waitedMs[stage] = waitedMs;
    }
  }

  #add(kind: Live['kind'], stage: Stage | 'unknown', ms: number): void {
    if (ms > 0) this.#waited.inc({ kind, stage }, ms / 1000);
  }
}
