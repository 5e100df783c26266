import { CommanderError } from 'commander';
import { FerryError } from '@rbdferry/core/errors/ferry-error.js';
import { errorRegistry } from '@rbdferry/core/errors/registry.js';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { exitStatusOf, exitStatusOfJob, reportFailure } from './exit.js';
import { jobOf, cancelled, committed, failed } from '../test/fake-agent.js';
import { hasEnded, jobView } from './view/job.js';

describe('exitStatusOf', () => {
  it.each(Object.entries(errorRegistry))('%s has its own status', (code, { exit }) => {
    expect(exitStatusOf(code)).toBe(exit);
  });

  it.each(['', 'toString', 'A_CODE_OF_A_NEWER_AGENT'])('takes the unknown code %j for INTERNAL', (code) => {
    expect(exitStatusOf(code)).toBe(1);
  });
});

it.each([
  ['committed', committed(), 0],
  ['failed', failed('NO_CHAIN', 'm', 'h'), 30],
  ['cancelled', cancelled, 130],
] as const)('a job that %s', (_, state, status) => {
  const job = jobView(jobOf(state));
  expect(hasEnded(job) && exitStatusOfJob(job)).toBe(status);
});

describe('reportFailure', () => {
  let stderr = '';
  beforeEach(() => {
    stderr = '';
    vi.spyOn(process.stderr, 'write').mockImplementation((text) => {
      stderr += String(text);
      return true;
    });
  });
  afterEach(() => {
    vi.restoreAllMocks();
  });

  it('says code, fact and remedy', () => {
    expect(reportFailure(new FerryError('NO_CHAIN', 'no chain of "rbd/vm1"', { hint: 'make one' }))).toBe(30);
    expect(stderr).toBe('rbdferry: NO_CHAIN: no chain of "rbd/vm1"\nhint: make one\n');
  });

  it('takes what is no error of ours for a defect', () => {
    expect(reportFailure(new TypeError('x is undefined'))).toBe(1);
    expect(stderr).toContain('INTERNAL: x is undefined');
  });

  it('adds nothing to what commander said', () => {
    expect(reportFailure(new CommanderError(1, 'commander.unknownOption', 'error: unknown option'))).toBe(2);
    expect(reportFailure(new CommanderError(0, 'commander.helpDisplayed', '(outputHelp)'))).toBe(0);
    expect(stderr).toBe('');
  });

  it('lets no control characters through to the terminal', () => {
    reportFailure(new FerryError('CEPH_FAILED', 'rbd said:\n\tno \u001b[31mway\u009b'));
    expect(stderr).toContain('rbd said:\n\tno \\u001b[31mway\\u009b\n');
  });
});
