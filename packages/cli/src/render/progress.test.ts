import { describe, expect, it } from 'vitest';
import { committed, jobOf, queued, running, stages } from '../../test/fake-agent.js';
import { jobView, type RunningState } from '../view/job.js';
import { progressLine } from './progress.js';

const MiB = 1024n * 1024n;
const line = (state: ReturnType<typeof running>, columns = 80) => progressLine(jobView(jobOf(state)), columns);

describe('progressLine', () => {
  it('has a bar, figures, rate and ETA', () => {
    expect(line(running(300n * MiB, 1200n * MiB), 100)).toBe(
      'transfer  [=====                   ]  25%  300 MiB of 1.17 GiB  100 MiB/s  ETA 9s'.replace(
        /\[.*\]/,
        `[${'='.repeat(10)}${' '.repeat(30)}]`,
      ),
    );
  });

  it('names the slowest stage where there is room for it beside the bar', () => {
    const state = running(300n * MiB, 1200n * MiB, stages);
    expect(line(state, 100)).toMatch(/\[.*\].*ETA 9s {2}slowest: target$/);
    expect(line(state, 80)).toMatch(/\[.*\].*ETA 9s$/);
    expect(line(running(300n * MiB, undefined, stages), 80)).toMatch(/slowest: target$/);
    expect(line(running(300n * MiB, 1200n * MiB, { ...stages, bottleneck: 0 }), 100)).toMatch(/ETA 9s$/);
  });

  it('has no bar and no per cent while the total is unknown', () => {
    expect(line(running(300n * MiB))).toBe('transfer  300 MiB  100 MiB/s');
  });

  it('says what a queued job waits for', () => {
    expect(line(queued)).toBe('queued');
    expect(line({ $case: 'queued', value: { waitsFor: 'another job on rbd/vm1' } })).toBe(
      'queued: waits for another job on rbd/vm1',
    );
  });

  const runningView = (over: Partial<RunningState>) => ({
    ...jobView(jobOf(running(MiB, 2n * MiB))),
    ...({ state: 'running' } as RunningState),
    ...over,
  });

  it('says what a running job waits for, and that it is being cancelled', () => {
    expect(progressLine(runningView({ waitsFor: 'the receiver', phase: 'commit' }), 80)).toBe(
      'commit: waits for the receiver',
    );
    expect(progressLine(runningView({ cancelling: true }), 120)).toContain('transfer (cancelling)');
  });

  it.each([20, 40, 60, 79, 80, 81, 100, 200])('fits into %i columns', (columns) => {
    const text = line(running(300n * MiB, 1200n * MiB), columns);
    expect(text.length).toBeLessThan(columns);
    expect(text).toContain('transfer');
  });

  it('takes a terminal that does not know its width for one of 80 columns', () => {
    expect(line(running(300n * MiB, 1200n * MiB), 0)).toBe(line(running(300n * MiB, 1200n * MiB), 80));
  });

  it('gives the figures up last', () => {
    expect(line(running(300n * MiB, 1200n * MiB), 60)).toContain('25%');
    expect(line(running(300n * MiB, 1200n * MiB), 60)).not.toContain('[');
  });

  it('names a state that is none of a running job', () => {
    expect(line(committed())).toBe('committed, 1 GiB');
  });
});
