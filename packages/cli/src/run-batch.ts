import type { AgentClient } from './client.js';
import { followJob } from './follow-job.js';
import type { BatchDisplay } from './render/batch-progress.js';
import { childrenOf, reportBatch } from './report-batch.js';
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
  const display = process.stderr.isTTY ? await onTerminal(agent) : noProgress;
  const outcome = await followJob({ agent, start, display });
  const jobs = await childrenOf(agent, outcome.job.id);
  display.rest(jobs);
  return reportBatch(outcome, jobs, options);
};

const onTerminal = async (agent: AgentClient): Promise<BatchDisplay> => {
  const [{ batchOnTerminal }, { progressOnTerminal }] = await Promise.all([
    import('./render/batch-progress.js'),
    import('./render/progress.js'),
  ]);
  return batchOnTerminal((id) => childrenOf(agent, id), await progressOnTerminal());
};

const noProgress: BatchDisplay = { update() {}, rest() {}, stop() {} };
