import type { AgentClient } from './client.js';
import { agentWentSilent } from './follow-job.js';
import { note, printLine } from './output.js';
import { toJson } from './render/json.js';
import { stateText } from './render/state.js';
import { printProduct, reportJob, type ReportOptions } from './report-job.js';
import { hasEnded, type JobView } from './view/job.js';

/**
 * Starts a job and stays only until it is planned, so that a refusal (no such image, nothing to build on) still fails the
 * command. Then tells what the job makes and leaves it to the agent.
 *
 * @returns the exit status
 */
export const startAndReport = async (
  agent: Pick<AgentClient, 'watchJob'>,
  start: () => Promise<JobView>,
  options: ReportOptions,
): Promise<number> => {
  const started = await start();
  if (!options.json) note(`job ${started.id}`);
  const job = await plannedJob(agent, started, options);
  if (hasEnded(job)) return reportJob({ job, interrupted: false }, options);
  if (options.json) await printLine(toJson(job));
  else await printProduct(job, options);
  return 0;
};

/** The job once its plan is made, or once it must be waited for and there is nothing to wait for here. */
const plannedJob = async (
  agent: Pick<AgentClient, 'watchJob'>,
  started: JobView,
  options: ReportOptions,
): Promise<JobView> => {
  if (isPlanned(started, options)) return started;
  let waiting = '';
  for await (const job of agent.watchJob(started.id)) {
    if (isPlanned(job, options)) return job;
    const text = waitText(job);
    if (text !== '' && text !== waiting) note(`job ${job.id}: ${text}`);
    waiting = text;
  }
  throw agentWentSilent(started.id);
};

const isPlanned = (job: JobView, { json }: ReportOptions): boolean => {
  if (hasEnded(job)) return true;
  const waitsForOthers = job.state === 'queued' && job.waitsFor !== null;
  if (job.kind === 'backup') return job.backupId !== null || (json && waitsForOthers);
  // A restore knows its backup from the start; what it refuses, it refuses before it leaves the plan.
  return waitsForOthers || (job.state === 'running' && job.phase !== 'plan');
};

/** The id of a backup holds the time at which it starts: until then there is none to tell. */
const waitText = (job: JobView): string => (job.state === 'queued' && job.waitsFor !== null ? stateText(job) : '');
