import { withAgent } from '../agent.js';
import { examples } from '../examples.js';
import { countArgument, imageArgument } from '../options.js';
import type { AddVerb } from '../verb.js';

const shownJobs = 50;

export const addJobs: AddVerb = (program) => {
  program
    .command('jobs')
    .description("Lists jobs, newest first. Ended ones are kept for the time in the agent's configuration.")
    .option('--image <IMAGE>', 'only jobs of this image', imageArgument)
    .option('--batch <JOB>', 'the jobs of a batch, which are left out otherwise')
    .option('--active', 'only jobs that have not ended')
    .option('--limit <N>', `at most so many (default: ${shownJobs}, and all of a batch)`, countArgument)
    .option('--json', 'print a JSON array of jobs, a job a line')
    .addHelpText('after', examples('jobs --active', 'jobs --batch k3v9x2m7qa', 'jobs --image rbd/vm1 --limit 1 --json'))
    .action(async ({ image, batch, active = false, limit, json = false }) => {
      const most = limit ?? (batch === undefined ? shownJobs : 0);
      const jobs = await withAgent(program, (agent) =>
        agent.listJobs({ image, parent: batch, activeOnly: active, limit: most }),
      );
      if (json) {
        await (await import('../render/json.js')).printJsonArray(jobs);
        return;
      }
      const { note, printLine } = await import('../output.js');
      if (jobs.length === 0) note('no jobs');
      else await printLine((await import('../render/tables.js')).jobTable(jobs, new Date()));
    });
};
