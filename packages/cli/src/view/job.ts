import { FerryError } from '@rbdferry/core/errors/ferry-error.js';
import {
  JobKind,
  TransferStage,
  type Job as WireJob,
  type JobRunning,
  type StageProgress,
  type TransferStages,
} from '@rbdferry/core/gen/rbdferry/v1/control.js';
import { BackupKind as WireKind } from '@rbdferry/core/gen/rbdferry/v1/model.js';
import type { BackupKind } from '@rbdferry/core/model/chain.js';
import type { Stage } from '@rbdferry/core/model/stages.js';

/** What an ended job failed with, or what a failed command says. */
export interface JobError {
  /** A code of the error registry; a newer agent may send one that this release does not know. */
  readonly code: string;
  readonly message: string;
  readonly hint: string;
}

/** How a stage of a transfer gets on. */
export interface StageView {
  /** How long the transfer waited for it, in milliseconds. */
  readonly waitedMs: bigint;
  /** Bytes for each second of waiting: what the stage can do at least. Null when it was hardly waited for. */
  readonly bytesPerSecond: bigint | null;
}

/** The stages of a transfer; each is null while it is not known. */
export interface StagesView extends Readonly<Record<Stage, StageView | null>> {
  /** The one that was waited for most. */
  readonly bottleneck: Stage | null;
}

/** How far a running job is. Bytes are those of the diff stream. */
export interface RunningState {
  readonly state: 'running';
  /** Like `plan`, `snapshot`, `transfer`, `commit`, `clean-up`. */
  readonly phase: string;
  readonly doneBytes: bigint;
  /** An estimate; null while unknown. */
  readonly totalBytes: bigint | null;
  /** Null while unknown. */
  readonly rateBytesPerSecond: bigint | null;
  /** Null while unknown. */
  readonly etaSeconds: number | null;
  /** Whether it has been asked to stop. */
  readonly cancelling: boolean;
  /** What it waits for, like `another job on rbd/vm1`; null when it does not wait. */
  readonly waitsFor: string | null;
  /** Null before the transfer has begun. */
  readonly stages: StagesView | null;
}

export type EndState =
  | {
      readonly state: 'committed';
      /** Bytes of the diff stream. */
      readonly streamBytes: bigint;
      readonly warnings: readonly string[];
      /** Null when nothing was kept of them. */
      readonly stages: StagesView | null;
    }
  | { readonly state: 'failed'; readonly error: JobError; readonly warnings: readonly string[] }
  | { readonly state: 'cancelled' };

export interface QueuedState {
  readonly state: 'queued';
  readonly waitsFor: string | null;
  /** What the attempt before failed with; null before the first one. */
  readonly lastError: JobError | null;
}

export type JobStateView = QueuedState | RunningState | EndState;

export interface JobFacts {
  readonly id: string;
  readonly kind: 'backup' | 'restore' | 'batch';
  /** POOL[/NAMESPACE]/IMAGE: the image backed up, or the one a restore makes. Null until a restore to the old name knows it. */
  readonly image: string | null;
  readonly receiver: string;
  readonly store: string;
  /** The backup made or restored; null until it is known. */
  readonly backupId: string | null;
  readonly backupKind: BackupKind | null;
  readonly createdAt: Date;
  readonly startedAt: Date | null;
  readonly endedAt: Date | null;
  /** Null without a limit of its own. */
  readonly limitBytesPerSecond: bigint | null;
  /** Which attempt it is at, waits for, or ended with; from 1. */
  readonly attempt: number;
  /** The batch that it belongs to; null for none. */
  readonly parentId: string | null;
  /** Of a batch; null of any other job. */
  readonly children: ChildrenView | null;
}

/** How the jobs of a batch stand. */
export interface ChildrenView {
  /** What was selected, in words. */
  readonly selection: string;
  readonly total: number;
  readonly committed: number;
  readonly failed: number;
  readonly cancelled: number;
  /** From the first of their snapshots to the last one; null while that is not known. */
  readonly snapshotSpreadMs: number | null;
}

/** A job as the CLI shows it. This is the JSON shape too: dates become ISO 8601 in UTC, sizes numbers of bytes. */
export type JobView = JobFacts & JobStateView;

/** A job that did what it was asked. */
export type CommittedJob = JobFacts & Extract<EndState, { state: 'committed' }>;

/** A job that has ended. */
export type EndedJob = JobFacts & EndState;

export const hasEnded = (job: JobView): job is EndedJob => job.state !== 'queued' && job.state !== 'running';

/** @throws PROTOCOL_MISMATCH when the agent speaks of something this release does not know */
export const jobView = (job: WireJob | undefined): JobView => {
  if (job === undefined) throw new FerryError('PROTOCOL_MISMATCH', 'the agent answered without a job');
  return {
    id: job.id,
    kind: kindView(job),
    image: orNull(job.image),
    receiver: job.receiver,
    store: job.store,
    backupId: orNull(job.backupId),
    backupKind: backupKindView(job.backupKind),
    createdAt: new Date(Number(job.createdAtMs)),
    startedAt: dateOrNull(job.startedAtMs),
    endedAt: dateOrNull(job.endedAtMs),
    limitBytesPerSecond: job.limitBytesPerSecond === 0n ? null : job.limitBytesPerSecond,
    attempt: Math.max(1, job.attempt),
    parentId: orNull(job.parentId),
    children:
      job.children === undefined ? null : { ...job.children, snapshotSpreadMs: job.children.snapshotSpreadMs ?? null },
    ...stateView(job),
  };
};

/** @returns null when the kind is not known (yet) */
export const backupKindView = (kind: WireKind): BackupKind | null => {
  if (kind === WireKind.FULL) return 'full';
  return kind === WireKind.INCREMENTAL ? 'incremental' : null;
};

export const orNull = (text: string): string | null => (text === '' ? null : text);

/** A time of the wire; 0 when it is not known. */
export const dateOrNull = (ms: bigint): Date | null => (ms === 0n ? null : new Date(Number(ms)));

const kindView = ({ id, kind }: WireJob): JobFacts['kind'] => {
  if (kind === JobKind.BACKUP) return 'backup';
  if (kind === JobKind.RESTORE) return 'restore';
  if (kind === JobKind.BATCH) return 'batch';
  throw new FerryError('PROTOCOL_MISMATCH', `job ${JSON.stringify(id)} is of a kind that this release does not know`);
};

const stateView = ({ id, state }: WireJob): JobStateView => {
  switch (state?.$case) {
    case 'queued':
      return { state: 'queued', waitsFor: orNull(state.value.waitsFor), lastError: state.value.lastError ?? null };
    case 'running':
      return runningView(state.value);
    case 'committed':
      return {
        state: 'committed',
        streamBytes: state.value.streamBytes,
        warnings: state.value.warnings,
        stages: stagesView(state.value.stages),
      };
    case 'failed': {
      const { code = 'INTERNAL', message = '', hint = '' } = state.value.error ?? {};
      return { state: 'failed', error: { code, message, hint }, warnings: state.value.warnings };
    }
    case 'cancelled':
      return { state: 'cancelled' };
    case undefined:
      throw new FerryError('PROTOCOL_MISMATCH', `job ${JSON.stringify(id)} is in a state this release does not know`);
  }
};

export const runningView = (running: JobRunning): RunningState => ({
  state: 'running',
  phase: running.phase,
  doneBytes: running.doneBytes,
  totalBytes: running.totalBytes ?? null,
  rateBytesPerSecond: running.rateBytesPerSecond === 0n ? null : running.rateBytesPerSecond,
  etaSeconds: running.etaSeconds ?? null,
  cancelling: running.cancelling,
  waitsFor: orNull(running.waitsFor),
  stages: stagesView(running.stages),
});

/** A newer agent may name a bottleneck that this release does not know: then it is not known. */
const stagesView = (stages: TransferStages | undefined): StagesView | null =>
  stages === undefined
    ? null
    : {
        source: stageView(stages.source),
        wire: stageView(stages.wire),
        target: stageView(stages.target),
        limit: stageView(stages.limit),
        bottleneck: stageNamesOfWire.get(stages.bottleneck) ?? null,
      };

const stageNamesOfWire: ReadonlyMap<TransferStage, Stage> = new Map([
  [TransferStage.SOURCE, 'source'],
  [TransferStage.WIRE, 'wire'],
  [TransferStage.TARGET, 'target'],
  [TransferStage.LIMIT, 'limit'],
]);

const stageView = (stage: StageProgress | undefined): StageView | null =>
  stage === undefined ? null : { waitedMs: stage.waitedMs, bytesPerSecond: stage.bytesPerSecond ?? null };
