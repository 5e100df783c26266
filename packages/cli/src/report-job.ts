import { FerryError } from '@rbdferry/core/errors/ferry-error.js';
import type { Outcome } from './follow-job.js';
import { exitStatusOfJob } from './exit.js';
import { note, printFailure, printLine, printWarnings } from './output.js';
import { toJson } from './render/json.js';
import type { CommittedJob, JobView } from './view/job.js';

/**
 * Tells a job's end: on stdout what it made and nothing else (with `json` the whole job), on stderr the rest.
 *
 * @returns the exit status
 */
export const reportJob = async (
  { job, interrupted }: Outcome,
  options: { readonly json: boolean },
): Promise<number> => {
  if (options.json) await printLine(toJson(job));
  switch (job.state) {
    case 'committed':
      if (interrupted) note('the job had committed before it could be cancelled');
      printWarnings(job.warnings);
      if (process.stderr.isTTY && !options.json) note(await summaryOf(job));
      if (!options.json) await printLine(productOf(job));
      break;
    case 'failed':
      printFailure(job.error);
      break;
    case 'cancelled':
      if (interrupted) note('cancelled');
      else printFailure(new FerryError('CANCELLED', `job ${job.id} was cancelled`));
      break;
  }
  return exitStatusOfJob(job);
};

/** A backup's id; a restored image's spec. Empty while it is not known. */
export const productOf = (job: JobView): string => (job.kind === 'backup' ? job.backupId : job.image) ?? '';

/** For somebody who watched: with `--mode auto`, what it came to. */
const summaryOf = async (job: CommittedJob): Promise<string> => {
  const { bytes } = await import('./render/human.js');
  const { tookText } = await import('./render/state.js');
  const what = job.kind === 'backup' ? `${job.backupKind ?? ''} backup`.trimStart() : 'restore';
  return `${what}: ${bytes(job.streamBytes)} in ${tookText(job, new Date())}`;
};
