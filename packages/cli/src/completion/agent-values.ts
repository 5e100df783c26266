import type { AgentClient } from '../client.js';
import { bytes } from '../render/human.js';
import { stateText } from '../render/state.js';
import type { ChainView } from '../view/chain.js';
import type { JobView } from '../view/job.js';
import type { AgentValues, Candidate } from './wanted.js';

type Asked = Pick<AgentClient, 'agentInfo' | 'listJobs' | 'listBackups'>;

export interface AgentQuestion {
  readonly values: AgentValues;
  /** What is typed already: the store in front of an id says where to look. */
  readonly typed: string;
  /** Values of options given before. */
  readonly given: ReadonlyMap<string, string>;
  /** Ends the search; what was found until then counts. */
  readonly signal: AbortSignal;
}

const recentJobs = 1000;
const shownJobs = 50;

/** Words that only the agent knows, as many of them as come in time. Never throws. */
export const askAgent = async (agent: Asked, question: AgentQuestion): Promise<Candidate[]> => {
  switch (question.values) {
    case 'receivers':
      return (await receivers(agent)).map(({ name, address }) => ({ value: name, description: address }));
    case 'stores':
      return stores(agent, question);
    case 'jobs':
    case 'active-jobs':
      return jobs(agent, { activeOnly: question.values === 'active-jobs', limit: shownJobs }).then((found) =>
        found.map((job) => ({ value: job.id, description: `${job.kind} ${job.image ?? ''}: ${stateText(job)}` })),
      );
    case 'images':
      return images(agent, question);
    case 'ids':
      return ids(agent, question);
    case 'ids-and-images':
      return (await Promise.all([images(agent, question), ids(agent, question)])).flat();
    case 'chains':
      return chains(agent, question);
  }
};

/** A shell that waits for a word has no use for an error. */
const orElse = async <T>(answer: Promise<T>, otherwise: T): Promise<T> => {
  try {
    return await answer;
  } catch {
    return otherwise;
  }
};

const receivers = async (agent: Asked) => (await orElse(agent.agentInfo(), undefined))?.receivers ?? [];

const jobs = (agent: Asked, filter: { activeOnly: boolean; limit: number }): Promise<JobView[]> =>
  orElse(agent.listJobs(filter), []);

const stores = async (agent: Asked, { given }: AgentQuestion): Promise<Candidate[]> => {
  const [known, recent] = await Promise.all([receivers(agent), jobs(agent, { activeOnly: false, limit: recentJobs })]);
  const wanted = given.get('--receiver');
  const isWanted = (receiver: string) => wanted === undefined || receiver === wanted;
  return unique([
    ...known.filter(({ name }) => isWanted(name)).map(({ defaultStore }) => defaultStore),
    ...recent.filter(({ receiver }) => isWanted(receiver)).map(({ store }) => store),
  ]);
};

/** Images that have backups, and those of recent jobs. */
const images = async (agent: Asked, question: AgentQuestion): Promise<Candidate[]> => {
  const [stored, recent] = await Promise.all([
    chainsInTime(agent, question),
    jobs(agent, { activeOnly: false, limit: recentJobs }),
  ]);
  const names = [...stored.found.flatMap(({ images }) => images), ...recent.map(({ image }) => image ?? '')];
  return unique(names.filter((name) => name !== ''));
};

/** Backups in the store; when that takes too long, also those of recent jobs. */
const ids = async (agent: Asked, question: AgentQuestion): Promise<Candidate[]> => {
  const [stored, recent] = await Promise.all([
    chainsInTime(agent, question),
    jobs(agent, { activeOnly: false, limit: recentJobs }),
  ]);
  const listed = stored.found
    .flatMap(({ backups }) => backups)
    .map(({ id, kind, sizeBytes }) => ({ value: id, description: `${kind ?? 'backup'} of ${bytes(sizeBytes)}` }));
  if (stored.complete) return listed;
  const made = recent.flatMap(({ state, backupId }) => (state === 'committed' && backupId !== null ? [backupId] : []));
  const known = new Set(listed.map(({ value }) => value));
  return [...listed, ...unique(made.filter((id) => !known.has(id)))];
};

const chains = async (agent: Asked, question: AgentQuestion): Promise<Candidate[]> =>
  (await chainsInTime(agent, question)).found.map(({ store, name, backups }) => ({
    value: `${store}/${name}`,
    description: `${backups.length} ${backups.length === 1 ? 'backup' : 'backups'}`,
  }));

const chainsInTime = async (
  agent: Asked,
  { typed, given, signal, values }: AgentQuestion,
): Promise<{ found: ChainView[]; complete: boolean }> => {
  const found: ChainView[] = [];
  const typedStore = values !== 'images' && typed.includes('/') ? typed.slice(0, typed.indexOf('/')) : undefined;
  // An image's pool looks like a store's name in front of an id.
  const store = values === 'ids-and-images' ? given.get('--store') : (typedStore ?? given.get('--store'));
  try {
    for await (const chain of agent.listBackups({ store, receiver: given.get('--receiver') }, signal))
      found.push(chain);
    return { found, complete: true };
  } catch {
    return { found, complete: false };
  }
};

const unique = (values: readonly string[]): Candidate[] =>
  [...new Set(values)].map((value) => ({ value, description: '' }));
