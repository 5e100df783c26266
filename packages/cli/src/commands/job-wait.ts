import { withAgent } from '../agent.js';
import { endWith } from '../end-with.js';
import { examples } from '../examples.js';
import type { AddJobVerb } from '../verb.js';

export const addJobWait: AddJobVerb = (job, program) => {
  job
    .command('wait')
    .summary('wait until a job has ended')
    .description(
      'Waits until a job has ended and tells its end as the command that started it would: what it made on stdout, the exit status of its error. Leaving early does not touch the job.',
    )
    .argument('<JOB>', 'id of a job, as `jobs` prints it')
    .option('--json', 'print the ended job as JSON')
    .addHelpText('after', examples('job wait k3v9x2m7qa && echo backed up'))
    .action(async (id, { json = false }) => {
      const status = await withAgent(program, async (agent) => {
        const { watchJobToEnd } = await import('../watch-job.js');
        const { reportEnd } = await import('../report-batch.js');
        const ended = await watchJobToEnd(agent, id, { update() {} });
        return reportEnd(agent, { job: ended, interrupted: false }, { json });
      });
      endWith(status);
    });
};
