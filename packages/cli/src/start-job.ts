import type { AgentClient } from './client.js';
import { agentWentSilent } from './follow-job.js';
import { note, printLine } from './output.js';
import { toJson } from './render/json.js';
import { stateText } from './render/state.js';
import { printProduct, reportJob, type ReportOptions } from './report-job.js';
import { hasEnded, type JobView } from './view/job.js';
import { printDone } from './write-output.js';

export interface StartOptions extends ReportOptions {
  /**
   * What is told, and so what is stayed for: the job's id, which is known at once, or what the job makes. The id of a backup
   * holds the time at which it starts, so that one must be waited for while other jobs come first.
   */
  readonly tells: 'job' | 'product';
}

/**
 * Starts a job and leaves it to the agent once it is planned, so that a refusal (no such image, nothing to build on) still fails the
 * command, or as soon as it must wait for other jobs. Tells on stdout the job's id, or with `json` the job.
 *
 * @returns the exit status
 */
export const startAndReport = async (
  agent: Pick<AgentClient, 'watchJob'>,
  start: () => Promise<JobView>,
  options: StartOptions,
): Promise<number> => {
  const started = await start();
  const tell = (printing: Promise<void>) =>
    printDone(`job ${started.id} was started: rbdferry job show ${started.id}`, printing);
  if (options.tells === 'product') note(`job ${started.id}`);
  else if (!options.json) await tell(printLine(started.id));
  const job = await plannedJob(agent, started, options);
  if (options.tells === 'job' && hasEnded(job))
    return reportJob({ job, interrupted: false }, { ...options, product: 'untold' });
  if (hasEnded(job)) return reportJob({ job, interrupted: false }, options);
  if (options.json) await tell(printLine(toJson(job)));
  else if (options.tells === 'product') await tell(printProduct(job, options));
  return 0;
};

/** The job once it is planned, or once it must wait. */
const plannedJob = async (
  agent: Pick<AgentClient, 'watchJob'>,
  started: JobView,
  options: StartOptions,
): Promise<JobView> => {
  if (mayBeLeft(started, options)) return started;
  let waiting = '';
  for await (const job of agent.watchJob(started.id)) {
    if (mayBeLeft(job, options)) return job;
    const text = waitText(job);
    if (text !== '' && text !== waiting) note(`job ${job.id}: ${text}`);
    waiting = text;
  }
  throw agentWentSilent(started.id);
};

const mayBeLeft = (job: JobView, { tells }: StartOptions): boolean => {
  if (hasEnded(job)) return true;
  if (tells === 'product' && job.kind === 'backup') return job.backupId !== null;
  // A job that waits is not planned yet. What a restore refuses, it refuses before it leaves the plan.
  const isPlanned = job.state === 'running' && (job.kind === 'backup' ? job.backupId !== null : job.phase !== 'plan');
  return isPlanned || job.waitsFor !== null;
};

const waitText = (job: JobView): string => (job.state === 'queued' && job.waitsFor !== null ? stateText(job) : '');
