import { FerryError, toFerryError } from '@rbdferry/core/errors/ferry-error.js';
import type { Outcome } from './follow-job.js';
import { exitStatusOfJob } from './exit.js';
import { note, printFailure, printLine, printWarnings } from './output.js';
import type { CommittedJob, JobError, JobView } from './view/job.js';
import { printDone } from './write-output.js';

export interface ReportOptions {
  readonly json: boolean;
  /** Whether what the job made is told on stdout; it is when left out. */
  readonly product?: 'printed' | 'untold';
  /** Told what the job makes, where that is told on stdout; whether or not it is printed there. */
  readonly onProduct?: (made: string) => void;
  /** Puts an error into the words of the command at hand. */
  readonly reword?: (error: JobError) => JobError;
}

/**
 * Tells a job's end: on stdout what it made and nothing else (with `json` the whole job), on stderr the rest.
 *
 * @returns the exit status
 * @throws OUTPUT_FAILED, when the job has committed; of another the status says more
 */
export const reportJob = async (outcome: Outcome, options: ReportOptions): Promise<number> => {
  const { job } = outcome;
  const unwritten = options.json ? await printJson(job).then(() => undefined, toFerryError) : undefined;
  await tellEnd(outcome, options);
  const status = exitStatusOfJob(job);
  if (unwritten !== undefined && status === 0) await printDone(doneText(job), Promise.reject(unwritten));
  return status;
};

const printJson = async (job: JobView): Promise<void> => printLine((await import('./render/json.js')).toJson(job));

const tellEnd = async ({ job, interrupted }: Outcome, options: ReportOptions): Promise<void> => {
  const { reword = (error) => error } = options;
  switch (job.state) {
    case 'committed':
      if (interrupted) note('the job had committed before it could be cancelled');
      printWarnings(job.warnings);
      if (process.stderr.isTTY && !options.json) note(await summaryOf(job));
      if (!options.json) await printDone(doneText(job), printProduct(job, options));
      break;
    case 'failed':
      printFailure(reword(job.error));
      break;
    case 'cancelled':
      if (interrupted) note('cancelled');
      else printFailure(new FerryError('CANCELLED', `job ${job.id} was cancelled`));
      break;
  }
};

/** For a hint, when the result cannot be written. */
const doneText = ({ id, kind, backupId, image }: JobView): string =>
  kind === 'backup'
    ? `the backup is made: ${backupId ?? `see job ${id}`}`
    : `the restore is done: ${image ?? `see job ${id}`}`;

/** A backup's id; a restored image's spec. Nothing while it is not known. */
export const printProduct = async (job: JobView, { product = 'printed', onProduct }: ReportOptions): Promise<void> => {
  const made = job.kind === 'backup' ? job.backupId : job.image;
  if (made === null) return;
  onProduct?.(made);
  if (product === 'printed') await printLine(made);
};

/** For somebody who watched: with `--mode auto`, what it came to. */
const summaryOf = async (job: CommittedJob): Promise<string> => {
  const { bytes } = await import('./render/human.js');
  const { tookText } = await import('./render/state.js');
  const what = job.kind === 'backup' ? `${job.backupKind ?? ''} backup`.trimStart() : 'restore';
  return `${what}: ${bytes(job.streamBytes)} in ${tookText(job, new Date())}`;
};
