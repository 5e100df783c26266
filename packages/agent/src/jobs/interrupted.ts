import { attemptOf, type JobEvent } from '@rbdferry/core/model/job-state.js';
import type { JobKinds } from './job-kind.js';
import type { Job } from './job.js';

const error = {
  code: 'JOB_INTERRUPTED',
  message: 'the agent was stopped while the job ran; what it had begun was cleaned up',
  hint: 'start it again',
};

/** How a job ends that the agent's end broke off, when nothing came of it. */
export const interrupted = ({ state }: Job): JobEvent =>
  state.kind === 'running' && state.cancelling ? { kind: 'cancelled' } : { kind: 'failed', error };

/** How often a job is begun whose agent ends under it: it may be the job that ends it. */
const mostLives = 5;

/** Whether a job that the agent's end broke off is tried again when the agent is back: a batch, and what belongs to one. */
export const goesOnLater = ({ request, state }: Pick<Job, 'request' | 'state'>, kinds: JobKinds): boolean =>
  (kinds[request.kind]?.hasChildren === true || request.parent !== undefined) && attemptOf(state) < mostLives;
