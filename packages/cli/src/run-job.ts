import type { AgentClient } from './client.js';
import { followJob } from './follow-job.js';
import { progressOnTerminal } from './render/progress.js';
import { reportJob } from './report-job.js';
import type { JobView } from './view/job.js';

/**
 * Starts a job, shows its progress, and tells its end.
 *
 * @returns the exit status
 */
export const followAndReport = async (
  agent: AgentClient,
  start: () => Promise<JobView>,
  options: { readonly json: boolean },
): Promise<number> => {
  const display = await progressOnTerminal();
  return reportJob(await followJob({ agent, start, display }), options);
};
