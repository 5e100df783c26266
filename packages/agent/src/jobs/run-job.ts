import type { CephPort } from '@rbdferry/core/ceph/port.js';
import { FerryError, toFerryError } from '@rbdferry/core/errors/ferry-error.js';
import { pauseMs, type BackOff } from '@rbdferry/core/lifecycle/back-off.js';
import type { Logger } from '@rbdferry/core/log/logger.js';
import { attemptOf } from '@rbdferry/core/model/job-state.js';
import type { AgentMetrics } from '../agent-metrics.js';
import type { AgentConfig } from '../config.js';
import type { JobLimits, TransferLimits } from '../limits.js';
import { clockWarning } from '../receiver-client/clock-difference.js';
import type { ConnectOptions, ReceiverClient } from '../receiver-client/receiver-client.js';
import { withReceiver } from '../receiver-client/with-receiver.js';
import type { JobContext, JobOutcome } from './job-context.js';
import type { JobKind, JobKinds, RecoverDeps } from './job-kind.js';
import type { JobStore } from './job-store.js';
import type { Job, JobRequest } from './job.js';
import type { LiveJob } from './live-job.js';
import { goesOnLater } from './interrupted.js';
import type { Settled } from './loose-end-kind.js';
import type { LooseEnds } from './loose-ends.js';

/** What jobs run with. */
export interface JobDeps {
  readonly kinds: JobKinds;
  readonly store: JobStore;
  readonly looseEnds: LooseEnds;
  readonly ceph: CephPort;
  /** The one that holds now. */
  readonly config: () => AgentConfig;
  readonly log: Logger;
  readonly metrics: Pick<AgentMetrics, 'jobEnded' | 'connections' | 'transfers'>;
  readonly connect: (receiver: string, options: ConnectOptions) => Promise<ReceiverClient>;
  /** Milliseconds since 1970. */
  readonly now: () => number;
}

/** What the runner does for a job that runs. */
export interface ForJob
  extends Pick<JobContext, 'phase' | 'transfer' | 'hold' | 'children'>, Pick<RecoverDeps, 'unlessBusy'> {
  readonly limits: TransferLimits;
}

const retryBackOff: BackOff = { firstMs: 30_000, longestMs: 900_000 };

/** Runs one attempt of a job to its end. Never throws: whatever happens becomes the state of the job. */
export const runJob = async (live: LiveJob, given: ForJob, deps: JobDeps): Promise<void> => {
  const startedAt = performance.now();
  try {
    const outcome = await attempt(live, given, deps);
    const { stages, warnings } = live;
    const [streamBytes, { wireBytes }] = [Number(outcome.streamBytes), live.progress];
    live.apply({ kind: 'committed', streamBytes, warnings, ...(stages === null ? {} : { stages }) });
    deps.log.info({ ...aboutJob(live.job, startedAt), streamBytes, wireBytes }, 'job committed');
  } catch (thrown) {
    endBadly(live, toFerryError(thrown), startedAt, deps);
  }
};

const attempt = async (live: LiveJob, given: ForJob, deps: JobDeps): Promise<JobOutcome> => {
  const { request } = live.job;
  const kind = deps.kinds[request.kind];
  if (kind === undefined) throw new FerryError('INTERNAL', `this release knows no job of the kind "${request.kind}"`);
  // What a batch has begun for it is no earlier attempt's.
  const done = live.begun === null ? await settleEarlier(live, kind, given, deps) : null;
  if (done !== null) return done;
  const limits = given.limits.of(request.receiver, request.limitBytesPerSecond ?? null);
  const connecting = deps.connect(request.receiver, {
    signal: live.controller.signal,
    onFacts: (facts) => {
      deps.metrics.connections.saw(request.receiver, facts);
    },
    ...(kind.reads ? { readsWithin: limits } : {}),
  });
  return withReceiver(connecting, (receiver) => {
    warnOf(receiver, live);
    return kind.run(request, contextOf(live, { ...given, receiver, limits }, deps));
  });
};

/**
 * What the attempts before left open is settled first: one of them may have done its work after all, and then there is nothing left to do.
 * Answers that outcome. @throws when it cannot be settled now
 */
const settleEarlier = async (
  live: LiveJob,
  kind: JobKind<JobRequest>,
  { unlessBusy }: ForJob,
  { looseEnds, ceph, store, connect }: JobDeps,
): Promise<JobOutcome | null> => {
  const { signal } = live.controller;
  let done: Extract<Settled, { kind: 'completed' }> | null = null;
  for (const { handle } of looseEnds.of(live.job.id)) {
    const settled = await handle.settle();
    if (settled.kind === 'completed') done = settled;
  }
  if (done === null) return null;
  const { backup } = done;
  // A restore: its image has its name.
  if (backup === null) return { streamBytes: 0n };
  const deps = { ceph, jobs: store, connect: (receiver: string) => connect(receiver, { signal }), unlessBusy };
  live.warnings.push(...(await kind.commitAfterAll(live.job, backup, deps)));
  return { streamBytes: backup.streamBytes };
};

const warnOf = (receiver: ReceiverClient, live: LiveJob): void => {
  const { compression } = receiver;
  if (compression.kind === 'impossible') {
    live.warnings.push(`compression is configured, but ${compression.why}; this went uncompressed`);
  }
  const clocks = clockWarning(receiver);
  if (clocks !== null) live.warnings.push(clocks);
};

const contextOf = (
  live: LiveJob,
  given: Omit<ForJob, 'limits'> & { readonly receiver: ReceiverClient; readonly limits: JobLimits },
  { ceph, config, log, store, looseEnds, now }: JobDeps,
): JobContext => ({
  ceph,
  receiver: given.receiver,
  config: config(),
  log: log.child({ job: live.job.id }),
  signal: live.controller.signal,
  progress: live.progress,
  limits: given.limits,
  jobs: store,
  now,
  phase: given.phase,
  transfer: given.transfer,
  hold: given.hold,
  begun: live.begun,
  children: given.children,
  warn: (message) => {
    live.warnings.push(message);
  },
  facts: (facts) => {
    live.setFacts(facts);
  },
  looseEnd: (end) => looseEnds.add(live.job.id, end),
});

const endBadly = (live: LiveJob, error: FerryError, startedAt: number, { kinds, log, now }: JobDeps): void => {
  const about = aboutJob(live.job, startedAt);
  if (error.code === 'CANCELLED' && live.controller.signal.aborted) {
    live.apply({ kind: 'cancelled' });
    log.info(about, 'job cancelled');
    return;
  }
  const { code, message, hint } = error;
  const failure = { code, message, hint };
  live.begun = null;
  const { doneBytes } = live.progress.view();
  const failed = { ...about, doneBytes, code, error: message, hint };
  if (code === 'JOB_INTERRUPTED' && goesOnLater(live.job, kinds)) {
    live.apply({ kind: 'retry', notBeforeMs: now(), error: failure });
    log.info(failed, 'the job goes on when the agent is started again');
  } else if (mayGoByItself(live, error)) {
    const notBeforeMs = now() + pauseMs(retryBackOff, attemptOf(live.job.state));
    live.apply({ kind: 'retry', notBeforeMs, error: failure });
    log.warn({ ...failed, notBefore: new Date(notBeforeMs).toISOString() }, 'attempt failed');
  }
  if (live.job.state.kind !== 'running') return;
  const { warnings } = live;
  live.apply({ kind: 'failed', error: failure, ...(warnings.length === 0 ? {} : { warnings }) });
  log.error({ ...failed, ...stackOf(error) }, 'job failed');
};

/** Whether there is another attempt: one was asked for, and nobody has to do anything first. Never for one that was told to stop. */
const mayGoByItself = ({ job: { request, state }, controller }: LiveJob, error: FerryError): boolean =>
  error.entry.retryable && !controller.signal.aborted && attemptOf(state) < (request.attempts ?? 1);

/** What says in each record of a job's end which job it was, and how long it took. */
const aboutJob = ({ id, request, image, backupId, state }: Job, startedAt: number) => ({
  job: id,
  kind: request.kind,
  image,
  receiver: request.receiver,
  store: request.store,
  backup: backupId,
  durationMs: Math.round(performance.now() - startedAt),
  ...(request.attempts === undefined ? {} : { attempt: attemptOf(state) }),
});

/** Only a defect of ours needs its stack in the log. */
const stackOf = (error: FerryError): { stack?: string } => {
  const stack = error.cause instanceof Error ? error.cause.stack : error.stack;
  return error.code === 'INTERNAL' && stack !== undefined ? { stack } : {};
};
