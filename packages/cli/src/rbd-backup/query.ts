import { toFerryError } from '@rbdferry/core/errors/ferry-error.js';
import type { AgentClient } from '../client.js';
import { note } from '../output.js';
import { percentOf } from '../render/human.js';
import type { JobView } from '../view/job.js';

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

/** What the old tool's query said of a job: 0 to 99 while it runs, 100 when it is committed, -1 when it failed. */
export const percentageOf = (job: JobView): number => {
  switch (job.state) {
    case 'queued':
      return 0;
    case 'running':
      return job.totalBytes === null ? 0 : percentOf(job.doneBytes, job.totalBytes);
    case 'committed':
      return 100;
    case 'failed':
    case 'cancelled':
      return -1;
  }
};

/** How far the newest job of this backup is. Says on stderr why, when the answer is -1. */
export const queryPercentage = async (
  agent: Pick<AgentClient, 'listJobs' | 'usage' | 'listBackups'>,
  search: JobSearch & { readonly receiver: () => Promise<string | undefined> },
): Promise<number> => {
  const [job] = await jobsOf(agent, search);
  if (job === undefined) return unknownJob(agent, search);
  if (job.state === 'failed') note(`job ${job.id} failed: ${job.error.code}: ${job.error.message}`);
  if (job.state === 'cancelled') note(`job ${job.id} was cancelled`);
  return percentageOf(job);
};

/** A job may be forgotten, or another agent's; a backup that is in the store is committed. */
const unknownJob = async (
  agent: Pick<AgentClient, 'listBackups'>,
  { backupId, kind, receiver }: JobSearch & { readonly receiver: () => Promise<string | undefined> },
): Promise<number> => {
  if (kind === 'backup' && (await isInStore(agent, backupId, receiver))) return 100;
  note(`the agent knows of no ${kind ?? 'job'} of ${backupId}`);
  return -1;
};

const isInStore = async (
  agent: Pick<AgentClient, 'listBackups'>,
  backupId: string,
  receiver: () => Promise<string | undefined>,
): Promise<boolean> => {
  try {
    const store = backupId.slice(0, backupId.indexOf('/'));
    for await (const chain of agent.listBackups({ receiver: await receiver(), store })) {
      if (chain.backups.some(({ id }) => id === backupId)) return true;
    }
  } catch (thrown) {
    note(`could not look into the store: ${toFerryError(thrown).message}`);
  }
  return false;
};
