import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { hasEnded, transition, type JobEvent, type JobState } from './job-state.js';

const events: JobEvent[] = [
  { kind: 'start' },
  { kind: 'phase', phase: 'transfer' },
  { kind: 'cancel-asked' },
  { kind: 'committed', streamBytes: 1, warnings: [] },
  { kind: 'failed', error: { code: 'INTERNAL', message: 'm', hint: 'h' } },
  { kind: 'cancelled' },
];

describe('transition', () => {
  const table: [JobState['kind'], (string | null)[]][] = [
    ['queued', ['running', null, 'cancelled', null, 'failed', 'cancelled']],
    ['running', [null, 'running', 'running', 'committed', 'failed', 'cancelled']],
    ['committed', [null, null, null, null, null, null]],
    ['failed', [null, null, null, null, null, null]],
    ['cancelled', [null, null, null, null, null, null]],
  ];
  const states: Record<JobState['kind'], JobState> = {
    queued: { kind: 'queued' },
    running: { kind: 'running', phase: 'plan', startedAtMs: 5, cancelling: false },
    committed: { kind: 'committed', startedAtMs: 5, endedAtMs: 6, streamBytes: 1, warnings: [] },
    failed: { kind: 'failed', startedAtMs: 5, endedAtMs: 6, error: { code: 'INTERNAL', message: 'm', hint: 'h' } },
    cancelled: { kind: 'cancelled', startedAtMs: 5, endedAtMs: 6 },
  };

  it.each(table)('from %s', (from, expected) => {
    expect(events.map((event) => transition(states[from], event, 9)?.kind ?? null)).toEqual(expected);
  });

  it('an ended job never changes, whatever comes', () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...events)), (sequence) => {
        let state: JobState = { kind: 'queued' };
        let end: JobState | null = null;
        for (const event of sequence) {
          state = transition(state, event, 9) ?? state;
          if (end !== null) expect(state).toEqual(end);
          if (hasEnded(state)) end = state;
        }
      }),
    );
  });
});
