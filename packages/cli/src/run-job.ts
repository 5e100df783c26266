import type { AgentClient } from './client.js';
import { followJob } from './follow-job.js';
import type { ProgressDisplay } from './render/progress.js';
import type { ReportOptions } from './report-job.js';
import type { StartOptions } from './start-job.js';
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
  if (options.async !== false) {
    const { startAndReport } = await import('./start-job.js');
    return startAndReport(agent, start, { ...options, tells: options.async });
  }
  const display = process.stderr.isTTY ? await (await import('./render/progress.js')).progressOnTerminal() : noProgress;
  // What tells the end is loaded while the job runs.
  const [outcome, { reportJob }] = await Promise.all([followJob({ agent, start, display }), import('./report-job.js')]);
  return reportJob(outcome, options);
};

const noProgress: ProgressDisplay = { update() {}, stop() {} };
