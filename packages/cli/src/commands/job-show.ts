import { withAgent } from '../agent.js';
import { examples } from '../examples.js';
import type { AddJobVerb } from '../verb.js';

export const addJobShow: AddJobVerb = (job, program) => {
  job
    .command('show')
    .summary('show a job')
    .description(
      'Shows a job as it is now, and how long its transfer has waited for source, wire and target. The exit status is 0 whatever became of the job.',
    )
    .argument('<JOB>', 'id of a job, as `jobs` prints it')
    .option('--json', 'print it as JSON')
    .addHelpText('after', examples('job show k3v9x2m7qa', "job show k3v9x2m7qa --json | jq -r '.error.code'"))
    .action(async (id, { json = false }) => {
      const found = await withAgent(program, (agent) => agent.getJob(id));
      const { printLine } = await import('../output.js');
      if (json) await printLine((await import('../render/json.js')).toJson(found));
      else await printLine((await import('../render/job.js')).jobText(found, new Date()));
    });
};
