import type { AgentClient } from './client.js';
import { followJob } from './follow-job.js';
import { progressOnTerminal } from './render/progress.js';
import { reportJob, type ReportOptions } from './report-job.js';
import { startAndReport, type StartOptions } from './start-job.js';
import type { JobView } from './view/job.js';

/**
 * Starts a job, shows its progress, and tells its end; or, asynchronously, leaves it to the agent.
 *
 * @returns the exit status
 */
export const runJob = async (
  agent: AgentClient,
  start: () => Promise<JobView>,
  options: ReportOptions & { readonly async: StartOptions['tells'] | false },
): Promise<number> => {
  if (options.async !== false) return startAndReport(agent, start, { ...options, tells: options.async });
  const display = await progressOnTerminal();
  return reportJob(await followJob({ agent, start, display }), options);
};
