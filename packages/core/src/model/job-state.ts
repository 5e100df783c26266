import type { Stages } from './stages.js';

/**
 * The states of a job and the one function that changes them.
 *
 * queued -> running -> committed | failed | cancelled; queued -> cancelled | failed. An ended job does not change, but for one that failed at
 * the commit, of which it is found out later that the receiver had committed.
 */
export type JobState =
  | { readonly kind: 'queued' }
  | { readonly kind: 'running'; readonly phase: JobPhase; readonly startedAtMs: number; readonly cancelling: boolean }
  | {
      readonly kind: 'committed';
      readonly startedAtMs: number;
      readonly endedAtMs: number;
      readonly streamBytes: number;
      readonly warnings: readonly string[];
      /** Left out when there was no transfer in this life of the agent, or the record is of an earlier release. */
      readonly stages?: Stages;
    }
  | { readonly kind: 'failed'; readonly startedAtMs: number; readonly endedAtMs: number; readonly error: JobError }
  | { readonly kind: 'cancelled'; readonly startedAtMs: number; readonly endedAtMs: number };

export interface JobError {
  readonly code: string;
  readonly message: string;
  readonly hint: string;
}

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
  | { readonly kind: 'failed'; readonly error: JobError }
  | { readonly kind: 'cancelled' };

export const hasEnded = (state: JobState): boolean =>
  state.kind === 'committed' || state.kind === 'failed' || state.kind === 'cancelled';

const timesOf = ({ startedAtMs, endedAtMs }: JobState & { kind: 'failed' }) => ({ startedAtMs, endedAtMs });

/**
 * The state after an event, or null when the event cannot happen in this state (then nothing changes).
 *
 * @param nowMs milliseconds since 1970
 */
export const transition = (state: JobState, event: JobEvent, nowMs: number): JobState | null => {
  if (event.kind === 'found-committed') {
    const { streamBytes, warnings } = event;
    return state.kind === 'failed' ? { kind: 'committed', ...timesOf(state), streamBytes, warnings } : null;
  }
  if (hasEnded(state)) return null;
  const startedAtMs = state.kind === 'running' ? state.startedAtMs : 0;
  switch (event.kind) {
    case 'start':
      return state.kind === 'queued' ? { kind: 'running', phase: 'plan', startedAtMs: nowMs, cancelling: false } : null;
    case 'phase':
      return state.kind === 'running' ? { ...state, phase: event.phase } : null;
    case 'cancel-asked':
      return state.kind === 'running'
        ? { ...state, cancelling: true }
        : { kind: 'cancelled', startedAtMs, endedAtMs: nowMs };
    case 'committed':
      return state.kind === 'running' ? { ...event, startedAtMs, endedAtMs: nowMs } : null;
    case 'failed':
      return { kind: 'failed', startedAtMs, endedAtMs: nowMs, error: event.error };
    case 'cancelled':
      return { kind: 'cancelled', startedAtMs, endedAtMs: nowMs };
  }
};
