import type { AgentClient } from './client.js';
import { watchToEnd } from './follow-job.js';
import type { ProgressDisplay } from './render/progress.js';
import { hasEnded, type EndedJob } from './view/job.js';

/**
 * Looks on until a job has ended that somebody else started.
 *
 * @param display told of each state before the end
 * @throws JOB_NOT_FOUND, AGENT_UNREACHABLE, CONNECTION_LOST
 */
export const watchJobToEnd = async (
  agent: Pick<AgentClient, 'getJob' | 'watchJob'>,
  id: string,
  display: Pick<ProgressDisplay, 'update'>,
): Promise<EndedJob> => {
  // A stream has no deadline, so first make sure that somebody answers and that there is such a job.
  const job = await agent.getJob(id);
  return hasEnded(job) ? job : watchToEnd(agent.watchJob(id), id, display);
};
