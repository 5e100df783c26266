import type { AgentClient } from './client.js';
import { followJob } from './follow-job.js';
import { progressOnTerminal } from './render/progress.js';
import { reportJob, type ReportOptions } from './report-job.js';
import { startAndReport } from './start-job.js';
import type { JobView } from './view/job.js';

/**
 * Starts a job, shows its progress, and tells its end; or, asynchronously, tells what it will make.
 *
 * @returns the exit status
 */
export const runJob = async (
  agent: AgentClient,
  start: () => Promise<JobView>,
  options: ReportOptions & { readonly async: boolean },
): Promise<number> => {
  if (options.async) return startAndReport(agent, start, options);
  const display = await progressOnTerminal();
  return reportJob(await followJob({ agent, start, display }), options);
};
