import { abortReason, FerryError, toFerryError } from '@rbdferry/core/errors/ferry-error.js';
import { atOnce } from '@rbdferry/core/lifecycle/at-once.js';
import type { JobContext, JobOutcome } from '../jobs/job-context.js';
import type { Planned } from './begin-backups.js';

const lookEveryMs = 250;
const shownFailures = 5;
const settlesAtOnce = 8;

/** Waits for all of them. @throws the signal's reason */
export const allEnded = async ({ children, progress, signal }: JobContext): Promise<void> => {
  let counted = 0;
  for (;;) {
    const { doneBytes, totalBytes, left } = children.progress();
    progress.add(Math.max(0, doneBytes - counted));
    counted = Math.max(counted, doneBytes);
    if (totalBytes !== null) progress.estimate(totalBytes);
    if (left === 0) return;
    await children.nextEnd(lookEveryMs, signal);
    if (signal.aborted) throw abortReason(signal);
  }
};

/** Cancelled, it takes its jobs along. When the agent stops they stay queued, and only what was made for them in advance goes. */
export const breakOff = async (planned: readonly Planned[], { children, signal, log }: JobContext): Promise<void> => {
  if (!signal.aborted) return;
  if (toFerryError(abortReason(signal)).code !== 'JOB_INTERRUPTED') {
    await children.cancel();
    return;
  }
  let isAway = false;
  await atOnce(
    planned.filter(({ child }) => child.isWaiting),
    settlesAtOnce,
    async ({ child, looseEnd }) => {
      // Whoever did not answer for one of them would hold up the agent's end for each.
      if (isAway) return;
      try {
        await looseEnd.settle();
      } catch (thrown) {
        isAway = true;
        log.warn(
          { job: child.id, error: toFerryError(thrown).message },
          'snapshots stay until the agent is started again',
        );
      }
    },
  );
};

/** @param what they are, as a word for several @throws SOME_FAILED, ALL_FAILED */
export const outcomeOf = ({ children }: JobContext, what: 'backups' | 'restores'): JobOutcome => {
  const { total, committed } = children.counts();
  const failed = children.failed();
  if (failed.length === 0) return { streamBytes: BigInt(children.progress().doneBytes) };
  const shown = failed
    .slice(0, shownFailures)
    .map(({ image, state }) => `${image} (${state.kind === 'failed' ? state.error.code : 'CANCELLED'})`);
  const more = failed.length > shownFailures ? ` and ${failed.length - shownFailures} more` : '';
  throw new FerryError(
    committed === 0 ? 'ALL_FAILED' : 'SOME_FAILED',
    `${failed.length} of ${total} ${what} failed: ${shown.join(', ')}${more}`,
  );
};
