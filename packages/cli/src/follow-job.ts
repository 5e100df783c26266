import { FerryError, toFerryError } from '@rbdferry/core/errors/ferry-error.js';
import { lostJobHint } from './agent-failure.js';
import type { AgentClient } from './client.js';
import { exitStatusOf } from './exit.js';
import { catchInterruption } from './interruption.js';
import { note } from './output.js';
import type { ProgressDisplay } from './render/progress.js';
import { hasEnded, type EndedJob, type JobView } from './view/job.js';

export interface FollowOptions {
  readonly agent: Pick<AgentClient, 'watchJob' | 'cancelJob'>;
  readonly start: () => Promise<JobView>;
  readonly display: ProgressDisplay;
}

/** How the job that was started ended, and whether it was us who stopped it. */
export interface Outcome {
  readonly job: EndedJob;
  readonly interrupted: boolean;
}

/**
 * Starts a job and stays with it to its end. Ctrl-C (or SIGTERM) cancels the job and waits for that end; a second one leaves.
 */
export const followJob = async ({ agent, start, display }: FollowOptions): Promise<Outcome> => {
  let known: JobView | undefined;
  const interruption = catchInterruption(() => {
    leaveAtOnce(display, known);
  });
  try {
    known = await start();
    return await stayWith(known, { agent, display, signal: interruption.signal });
  } finally {
    display.stop();
    interruption.release();
  }
};

const stayWith = async (
  { id }: JobView,
  { agent, display, signal }: Pick<FollowOptions, 'agent' | 'display'> & { signal: AbortSignal },
): Promise<Outcome> => {
  try {
    return { job: await watchToEnd(agent.watchJob(id, signal), id, display), interrupted: false };
  } catch (thrown) {
    if (!signal.aborted) throw thrown;
    display.stop();
    note(`cancelling job ${id}; Ctrl-C again leaves at once`);
    return { job: await cancelToEnd(agent, id), interrupted: true };
  }
};

/** The last state of a watch. @throws CONNECTION_LOST when it stops before the job has ended */
export const watchToEnd = async (
  states: AsyncIterable<JobView>,
  id: string,
  display: Pick<ProgressDisplay, 'update'>,
): Promise<EndedJob> => {
  for await (const job of states) {
    if (hasEnded(job)) return job;
    await display.update(job);
  }
  throw agentWentSilent(id);
};

/** A watch that ends before the job has ended is no answer. */
export const agentWentSilent = (id: string): FerryError =>
  new FerryError('CONNECTION_LOST', `the agent stopped telling about job ${id}`, {
    hint: lostJobHint(id),
  });

const cancelToEnd = async (agent: Pick<AgentClient, 'cancelJob'>, id: string): Promise<EndedJob> => {
  try {
    const job = await agent.cancelJob(id);
    if (hasEnded(job)) return job;
  } catch (thrown) {
    const error = toFerryError(thrown);
    throw new FerryError(error.code, `no answer whether job ${id} is cancelled: ${error.message}`, {
      hint: error.hint,
      cause: thrown,
    });
  }
  throw new FerryError('INTERNAL', `the agent answered before job ${id} had ended`);
};

const leaveAtOnce = (display: ProgressDisplay, job: JobView | undefined): void => {
  display.stop();
  note(
    job === undefined
      ? 'leaving; the agent may have started the job: rbdferry jobs --active'
      : `leaving before job ${job.id} has ended; look what becomes of it: rbdferry job show ${job.id}`,
  );
  process.exit(exitStatusOf('CANCELLED'));
};
