import { note, printLine } from '../output.js';
import type { JobView } from '../view/job.js';
import { toJson } from './json.js';
import type { ProgressDisplay } from './progress.js';
import { stateText } from './state.js';

/** Each state as a line of JSON on stdout. */
export const jsonLines = (): ProgressDisplay => ({
  update: (job) => printLine(toJson(job)),
  stop() {},
});

/** A line on stderr whenever the job is at something else, for logs and pipes. */
export const phaseLines = (): ProgressDisplay => {
  let before = '';
  return {
    update(job) {
      const at = placeOf(job);
      if (at !== before) note(`job ${job.id}: ${stateText(job)}`);
      before = at;
    },
    stop() {},
  };
};

const placeOf = (job: JobView): string =>
  job.state === 'running' ? `${job.phase} ${job.waitsFor ?? ''} ${String(job.cancelling)}` : job.state;
