import type { Stages } from './stages.js';

/**
 * The states of a job and the one function that changes them. An `attempt` counts from 1, and is left out for the first one.
 *
 * queued -> running -> committed | failed | cancelled; running -> queued (another attempt); queued -> cancelled | failed. An ended job does not change, but for one that failed at
 * the commit, of which it is found out later that the receiver had committed.
 */
export type JobState =
  | {
      readonly kind: 'queued';
      /** What the attempt before failed with; left out before the first one. */
      readonly retry?: Retry;
    }
  | {
      readonly kind: 'running';
      readonly phase: JobPhase;
      readonly startedAtMs: number;
      readonly cancelling: boolean;
      readonly attempt?: number;
    }
  | {
      readonly kind: 'committed';
      readonly startedAtMs: number;
      readonly endedAtMs: number;
      readonly streamBytes: number;
      readonly warnings: readonly string[];
      /** Left out when there was no transfer in this life of the agent, or the record is of an earlier release. */
      readonly stages?: Stages;
      readonly attempt?: number;
    }
  | {
      readonly kind: 'failed';
      readonly startedAtMs: number;
      readonly endedAtMs: number;
      readonly error: JobError;
      /** Left out when there are none. */
      readonly warnings?: readonly string[];
      readonly attempt?: number;
    }
  | { readonly kind: 'cancelled'; readonly startedAtMs: number; readonly endedAtMs: number; readonly attempt?: number };

export interface JobError {
  readonly code: string;
  readonly message: string;
  readonly hint: string;
}

/** The next attempt of a job that failed with what may go by itself. */
export interface Retry {
  /** From 2. */
  readonly attempt: number;
  /** It does not start before, in milliseconds since 1970. */
  readonly notBeforeMs: number;
  readonly error: JobError;
}

/** Which attempt it is at, waits for, or ended with; from 1. */
export const attemptOf = (state: JobState): number =>
  (state.kind === 'queued' ? state.retry?.attempt : state.attempt) ?? 1;

/** What a running job is at; in the order in which they come. */
export type JobPhase = 'plan' | 'snapshot' | 'open' | 'transfer' | 'commit' | 'verify' | 'swap' | 'clean-up';

export type JobEvent =
  | { readonly kind: 'start' }
  | { readonly kind: 'phase'; readonly phase: JobPhase }
  | { readonly kind: 'cancel-asked' }
  | {
      readonly kind: 'committed';
      readonly streamBytes: number;
      readonly warnings: readonly string[];
      readonly stages?: Stages;
    }
  /** Of a job that had failed. */
  | { readonly kind: 'found-committed'; readonly streamBytes: number; readonly warnings: readonly string[] }
  | { readonly kind: 'failed'; readonly error: JobError; readonly warnings?: readonly string[] }
  /** This attempt failed, another one follows. */
  | { readonly kind: 'retry'; readonly notBeforeMs: number; readonly error: JobError }
  | { readonly kind: 'cancelled' };

export const hasEnded = (state: JobState): boolean =>
  state.kind === 'committed' || state.kind === 'failed' || state.kind === 'cancelled';

/**
 * The state after an event, or null when the event cannot happen in this state (then nothing changes).
 *
 * @param nowMs milliseconds since 1970
 */
export const transition = (state: JobState, event: JobEvent, nowMs: number): JobState | null => {
  if (event.kind === 'found-committed') {
    if (state.kind !== 'failed') return null;
    const { error: _, warnings: __, ...kept } = state;
    return { ...kept, kind: 'committed', streamBytes: event.streamBytes, warnings: event.warnings };
  }
  if (hasEnded(state)) return null;
  const startedAtMs = state.kind === 'running' ? state.startedAtMs : 0;
  const attempt = attemptOf(state);
  const ended = { startedAtMs, endedAtMs: nowMs, ...(attempt === 1 ? {} : { attempt }) };
  switch (event.kind) {
    case 'start':
      return state.kind === 'queued' ? started(state.retry, nowMs) : null;
    case 'phase':
      return state.kind === 'running' ? { ...state, phase: event.phase } : null;
    case 'cancel-asked':
      return state.kind === 'running' ? { ...state, cancelling: true } : { kind: 'cancelled', ...ended };
    case 'committed':
      return state.kind === 'running' ? { ...event, ...ended } : null;
    case 'retry': {
      const { notBeforeMs, error } = event;
      if (state.kind !== 'running' || state.cancelling) return null;
      return { kind: 'queued', retry: { attempt: attempt + 1, notBeforeMs, error } };
    }
    case 'failed':
      return { ...event, ...ended };
    case 'cancelled':
      return { kind: 'cancelled', ...ended };
  }
};

const started = (retry: Retry | undefined, startedAtMs: number): JobState => ({
  kind: 'running',
  phase: 'plan',
  startedAtMs,
  cancelling: false,
  ...(retry === undefined ? {} : { attempt: retry.attempt }),
});
