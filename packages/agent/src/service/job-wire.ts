import { BackupKind, type ErrorDetail } from '@rbdferry/core/gen/rbdferry/v1/model.js';
import {
  JobKind,
  TransferStage,
  type Job as WireJob,
  type JobRunning,
  type TransferStages,
} from '@rbdferry/core/gen/rbdferry/v1/control.js';
import { attemptOf, type JobPhase } from '@rbdferry/core/model/job-state.js';
import type { Stage, Stages, StageView } from '@rbdferry/core/model/stages.js';
import { backupKind } from '../backup/wire.js';
import { isJobKind, type JobKindName } from '../job-kinds.js';
import type { JobView } from '../jobs/live-job.js';
import { batchKind } from '../batch/wire.js';
import { describeBatch } from '../batch/describe.js';
import type { BatchJobRequest } from '../batch/batch-jobs.js';
import { restoreKind } from '../restore/wire.js';

const wireKinds: Record<JobKindName, JobKind> = {
  backup: backupKind,
  restore: restoreKind,
  batch: batchKind,
};

/** A job as it goes over the control API. */
export const jobToWire = (view: JobView): WireJob => {
  const { state, request } = view;
  return {
    id: view.id,
    kind: isJobKind(request.kind) ? wireKinds[request.kind] : JobKind.UNSPECIFIED,
    image: view.image,
    receiver: request.receiver,
    store: request.store,
    backupId: view.backupId ?? '',
    backupKind: kindToWire(view),
    createdAtMs: BigInt(view.createdAtMs),
    startedAtMs: BigInt(state.kind === 'queued' ? 0 : state.startedAtMs),
    endedAtMs: BigInt(state.kind === 'queued' || state.kind === 'running' ? 0 : state.endedAtMs),
    state: stateToWire(view),
    limitBytesPerSecond: BigInt(request.limitBytesPerSecond ?? 0),
    attempt: attemptOf(state),
    parentId: request.parent ?? '',
    children: childrenToWire(view),
  };
};

const childrenToWire = ({ children, request }: JobView): WireJob['children'] => {
  if (children === null) return undefined;
  const { spreadMs, ...counts } = children;
  const selection = describeBatch(request as BatchJobRequest);
  return { ...counts, selection, snapshotSpreadMs: spreadMs ?? undefined };
};

const kindToWire = ({ backupKind }: JobView): BackupKind => {
  if (backupKind === null) return BackupKind.UNSPECIFIED;
  return backupKind === 'full' ? BackupKind.FULL : BackupKind.INCREMENTAL;
};

/** How far a transfer is. */
export const runningToWire = ({
  phase,
  cancelling,
  progress,
  stages,
  waitsFor,
}: Pick<JobView, 'progress' | 'stages' | 'waitsFor'> & { phase: JobPhase; cancelling: boolean }): JobRunning => ({
  phase,
  doneBytes: BigInt(progress.doneBytes),
  totalBytes: progress.totalBytes === null ? undefined : BigInt(progress.totalBytes),
  rateBytesPerSecond: BigInt(progress.bytesPerSecond),
  etaSeconds: progress.etaSeconds ?? undefined,
  cancelling,
  waitsFor: waitsFor ?? '',
  stages: stages === null ? undefined : stagesToWire(stages),
});

const stateToWire = (view: JobView): WireJob['state'] => {
  const { state, waitsFor } = view;
  switch (state.kind) {
    case 'queued':
      return { $case: 'queued', value: { waitsFor: waitsFor ?? '', lastError: state.retry?.error } };
    case 'running':
      return { $case: 'running', value: runningToWire({ ...view, phase: state.phase, cancelling: state.cancelling }) };
    case 'committed':
      return {
        $case: 'committed',
        value: {
          streamBytes: BigInt(state.streamBytes),
          warnings: [...state.warnings],
          stages: state.stages === undefined ? undefined : stagesToWire(state.stages),
        },
      };
    case 'failed': {
      const error: ErrorDetail = state.error;
      return { $case: 'failed', value: { error, warnings: [...(state.warnings ?? [])] } };
    }
    case 'cancelled':
      return { $case: 'cancelled', value: {} };
  }
};

const wireStages: Record<Stage, TransferStage> = {
  source: TransferStage.SOURCE,
  wire: TransferStage.WIRE,
  target: TransferStage.TARGET,
  limit: TransferStage.LIMIT,
};

const stagesToWire = ({ source, wire, target, limit, bottleneck }: Stages): TransferStages => ({
  source: stageToWire(source),
  wire: stageToWire(wire),
  target: stageToWire(target),
  limit: stageToWire(limit),
  bottleneck: bottleneck === null ? TransferStage.UNSPECIFIED : wireStages[bottleneck],
});

const stageToWire = (view: StageView | null): TransferStages['source'] =>
  view === null
    ? undefined
    : {
        waitedMs: BigInt(view.waitedMs),
        bytesPerSecond: view.bytesPerSecond === null ? undefined : BigInt(view.bytesPerSecond),
      };
