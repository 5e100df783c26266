import type { JobEvent } from '@rbdferry/core/model/job-state.js';
import type { Job } from './job.js';

/** How a job ends that the agent's end broke off, when nothing came of it. */
export const interrupted = ({ state }: Job): JobEvent =>
  state.kind === 'running' && state.cancelling
    ? { kind: 'cancelled' }
    : {
        kind: 'failed',
        error: {
          code: 'JOB_INTERRUPTED',
          message: 'the agent was stopped while the job ran; what it had begun was cleaned up',
          hint: 'start it again',
        },
      };
