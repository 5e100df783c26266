import type { AddVerb } from '../verb.js';
import { addCancelTo } from './cancel.js';
import { addJobShow } from './job-show.js';
import { addJobWait } from './job-wait.js';
import { addJobWatch } from './job-watch.js';

/** The verbs on one job, as `job show` and so on. */
export const addJob: AddVerb = (program) => {
  const job = program.command('job').description('Verbs on one job.');
  addJobShow(job, program);
  addJobWatch(job, program);
  addJobWait(job, program);
  addCancelTo(job, program, 'job cancel');
};
