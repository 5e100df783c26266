import { FerryError, toFerryError } from '@rbdferry/core/errors/ferry-error.js';
import { errorRegistry, isErrorCode } from '@rbdferry/core/errors/registry.js';
import { CommanderError } from 'commander';
import { EndedWith } from './end-with.js';
import { printFailure } from './output.js';
import type { EndedJob, JobError } from './view/job.js';
import { isReaderGone } from './write-output.js';

/** Exit status of a code; one that a newer agent made up counts as INTERNAL. */
export const exitStatusOf = (code: string): number => errorRegistry[isErrorCode(code) ? code : 'INTERNAL'].exit;

/** Exit status of a job's end. */
export const exitStatusOfJob = (job: EndedJob): number => {
  switch (job.state) {
    case 'committed':
      return 0;
    case 'failed':
      return exitStatusOf(job.error.code);
    case 'cancelled':
      return exitStatusOf('CANCELLED');
  }
};

/**
 * The one place that turns what a command threw into words on stderr.
 *
 * @returns the exit status
 */
export const reportFailure = (thrown: unknown): number => {
  // Commander has written its message, or the help that was asked for, already.
  if (thrown instanceof CommanderError) return thrown.exitCode === 0 ? 0 : exitStatusOf('USAGE');
  if (thrown instanceof EndedWith) return thrown.exitStatus;
  if (isReaderGone(thrown)) return 0;
  const error: JobError = toFerryError(thrown);
  printFailure(error);
  if (error.code === 'INTERNAL' && thrown instanceof Error && !(thrown instanceof FerryError)) debugTrace(thrown);
  return exitStatusOf(error.code);
};

/** A defect of ours, which somebody should be able to report. */
const debugTrace = (error: Error): void => {
  if (process.env['RBDFERRY_DEBUG'] !== undefined) process.stderr.write(`${error.stack ?? error.message}\n`);
};
