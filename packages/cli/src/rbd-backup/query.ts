import type { AgentClient } from '../client.js';
import { note } from '../output.js';
import { percentOf } from '../render/human.js';
import { hasEnded, type EndedJob, type JobView } from '../view/job.js';

/** Enough to find a job among those of one image. */
const searched = 1000;

export interface JobSearch {
  readonly backupId: string;
  /** Undefined for any. */
  readonly image: string | undefined;
  readonly kind?: JobView['kind'];
}

/** Jobs of this backup, newest first. The old tool looked at the id only, so an image that does not fit is no obstacle. */
export const jobsOf = async (
  agent: Pick<AgentClient, 'listJobs'>,
  { backupId, image, kind }: JobSearch,
): Promise<JobView[]> => {
  const isMeant = (job: JobView) => job.backupId === backupId && (kind === undefined || job.kind === kind);
  const narrow = image === undefined ? [] : await agent.listJobs({ image, activeOnly: false, limit: searched });
  const found = narrow.filter(isMeant);
  if (found.length > 0) return found;
  return (await agent.listJobs({ activeOnly: false, limit: searched })).filter(isMeant);
};

/** What the old tool's query said of a job that has not ended: 0 to 99. */
const percentageOf = (job: JobView): number =>
  job.state === 'running' && job.totalBytes !== null ? percentOf(job.doneBytes, job.totalBytes) : 0;

interface Query extends JobSearch {
  readonly kind: JobView['kind'];
  readonly receiver: () => Promise<string | undefined>;
}

/**
 * How far the newest job of this backup is. Once a backup's job has ended, or is not known, only the store can tell: the backup may have
 * been deleted since, or be there although its job never heard of it. Says on stderr why, when the answer is -1.
 *
 * @throws what kept the store from being asked: then the answer is not known
 */
export const queryPercentage = async (
  agent: Pick<AgentClient, 'listJobs' | 'listBackups'>,
  query: Query,
): Promise<number> => {
  const [job] = await jobsOf(agent, query);
  if (job !== undefined && !hasEnded(job)) return percentageOf(job);
  const isThere = query.kind === 'backup' ? await isInStore(agent, query, job) : job?.state === 'committed';
  if (isThere) return 100;
  note(whyNot(query, job));
  return -1;
};

const whyNot = ({ backupId, kind }: Query, job: EndedJob | undefined): string => {
  switch (job?.state) {
    case undefined:
      return `the agent knows of no ${kind} of ${backupId}`;
    case 'committed':
      return `job ${job?.id} made ${backupId}, which is no longer in the store`;
    case 'failed':
      return `job ${job.id} failed: ${job.error.code}: ${job.error.message}`;
    case 'cancelled':
      return `job ${job.id} was cancelled`;
  }
};

/** Asks the receiver that the job went to, else the one that the command line means. */
const isInStore = async (
  agent: Pick<AgentClient, 'listBackups'>,
  { backupId, receiver }: Query,
  job: EndedJob | undefined,
): Promise<boolean> => {
  const store = backupId.slice(0, backupId.indexOf('/'));
  for await (const chain of agent.listBackups({ receiver: job?.receiver ?? (await receiver()), store })) {
    if (chain.backups.some(({ id }) => id === backupId)) return true;
  }
  return false;
};
