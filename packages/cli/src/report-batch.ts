import { FerryError } from '@rbdferry/core/errors/ferry-error.js';
import type { AgentClient } from './client.js';
import { exitStatusOfJob } from './exit.js';
import type { Outcome } from './follow-job.js';
import { note, printFailure, printLine, printWarnings } from './output.js';
import { reportJob, type ReportOptions } from './report-job.js';
import type { JobView } from './view/job.js';
import { printDone } from './write-output.js';

type Agent = Pick<AgentClient, 'listJobs'>;

/** Tells a job's end; of a batch also those of its jobs. @returns the exit status @throws OUTPUT_FAILED */
export const reportEnd = async (agent: Agent, outcome: Outcome, options: ReportOptions): Promise<number> =>
  outcome.job.kind === 'batch'
    ? reportBatch(outcome, await childrenOf(agent, outcome.job.id), options)
    : reportJob(outcome, options);

/** The jobs of a batch, oldest first. */
export const childrenOf = async (agent: Agent, parent: string): Promise<JobView[]> =>
  (await agent.listJobs({ parent, activeOnly: false, limit: 0 })).toReversed();

/**
 * Tells a batch's end: on stdout the id of each backup, or the name of each image, that it made (with `json` the batch with its jobs), on stderr what failed and why.
 *
 * @returns the exit status
 */
export const reportBatch = async (
  { job, interrupted }: Outcome,
  jobs: readonly JobView[],
  { json }: ReportOptions,
): Promise<number> => {
  for (const child of jobs) tellChild(child, json);
  switch (job.state) {
    case 'committed':
      if (interrupted) note('the batch had committed before it could be cancelled');
      printWarnings(job.warnings);
      break;
    case 'failed':
      printWarnings(job.warnings);
      printFailure(job.error);
      break;
    case 'cancelled':
      if (interrupted) note('cancelled');
      else printFailure(new FerryError('CANCELLED', `job ${job.id} was cancelled`));
  }
  const done = `what was made is made: rbdferry jobs --batch ${job.id}`;
  await printDone(done, json ? printJson(job, jobs) : printProducts(jobs));
  return exitStatusOfJob(job);
};

const printJson = async (job: JobView, jobs: readonly JobView[]): Promise<void> =>
  printLine((await import('./render/json.js')).toJson({ ...job, jobs }));

const printProducts = async (jobs: readonly JobView[]): Promise<void> => {
  for (const { kind, state, backupId, image } of jobs) {
    const made = kind === 'backup' ? backupId : image;
    if (state === 'committed' && made !== null) await printLine(made);
  }
};

const tellChild = (child: JobView, json: boolean): void => {
  const image = child.image ?? child.id;
  if (child.state === 'committed') printWarnings(child.warnings.map((warning) => `${image}: ${warning}`));
  else if (child.state === 'failed' && !json) note(`rbdferry: ${child.error.code}: ${image}: ${child.error.message}`);
  else if (child.state === 'cancelled' && !json) note(`rbdferry: CANCELLED: ${image}`);
};
