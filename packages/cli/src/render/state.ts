import type { JobView, RunningState } from '../view/job.js';
import { colors } from './colors.js';
import { bytes, duration, percentOf, rate } from './human.js';

/** A job's state in a few words. */
export const stateText = (job: JobView): string => {
  switch (job.state) {
    case 'queued':
      return job.waitsFor === null ? 'queued' : `queued: waits for ${job.waitsFor}`;
    case 'running':
      return runningFacts(job).join(', ');
    case 'committed':
      return job.children === null
        ? `committed, ${bytes(job.streamBytes)}`
        : `committed, ${job.children.total} images, ${bytes(job.streamBytes)}`;
    case 'failed':
      return `failed: ${job.error.code}`;
    case 'cancelled':
      return 'cancelled';
  }
};

/** The colour of a state's words. */
export const paintState = ({ state }: JobView): ((text: string) => string) => {
  switch (state) {
    case 'queued':
    case 'running':
      return String;
    case 'committed':
      return colors.green;
    case 'failed':
      return colors.red;
    case 'cancelled':
      return colors.yellow;
  }
};

/** What there is to say of a running job: its phase first, then figures as far as they are known. */
export const runningFacts = (job: RunningState & Pick<JobView, 'children'>): string[] => {
  const phase = job.cancelling ? `${job.phase} (cancelling)` : job.phase;
  return job.waitsFor === null
    ? [phase, ...childFigures(job), ...figures(job)]
    : [`${phase}: waits for ${job.waitsFor}`];
};

const childFigures = ({ children }: Pick<JobView, 'children'>): string[] =>
  children === null || children.total === 0
    ? []
    : [`${children.committed + children.failed + children.cancelled} of ${children.total} images`];

const figures = ({ doneBytes, totalBytes, rateBytesPerSecond, etaSeconds }: RunningState): string[] => {
  if (doneBytes === 0n && totalBytes === null) return [];
  return [
    ...(totalBytes === null
      ? [bytes(doneBytes)]
      : [`${percentOf(doneBytes, totalBytes)}%`, `${bytes(doneBytes)} of ${bytes(totalBytes)}`]),
    ...(rateBytesPerSecond === null ? [] : [rate(rateBytesPerSecond)]),
    ...(etaSeconds === null ? [] : [`ETA ${duration(etaSeconds * 1000)}`]),
  ];
};

/** How long a job has run, or ran. */
export const tookText = ({ startedAt, endedAt }: JobView, now: Date): string =>
  startedAt === null ? '-' : duration((endedAt ?? now).getTime() - startedAt.getTime());
