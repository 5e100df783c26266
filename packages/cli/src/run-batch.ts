import type { AgentClient } from './client.js';
import { followJob } from './follow-job.js';
import type { ProgressDisplay } from './render/progress.js';
import { childrenOf, reportEnd } from './report-batch.js';
import type { JobView } from './view/job.js';

/** Starts a batch, shows its progress, and tells its end; or, asynchronously, leaves it to the agent. @returns the exit status */
export const runBatch = async (
  agent: AgentClient,
  start: () => Promise<JobView>,
  options: { readonly json: boolean; readonly async: boolean },
): Promise<number> => {
  if (options.async) {
    const { startAndReport } = await import('./start-job.js');
    return startAndReport(agent, start, { ...options, tells: 'job' });
  }
  const display: ProgressDisplay = process.stderr.isTTY
    ? (await import('./render/batch-progress.js')).batchOnTerminal((id) => childrenOf(agent, id), await terminal())
    : { update() {}, stop() {} };
  return reportEnd(agent, await followJob({ agent, start, display }), options);
};

const terminal = async (): Promise<ProgressDisplay> => (await import('./render/progress.js')).progressOnTerminal();
