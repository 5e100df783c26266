import { withAgent } from '../agent.js';
import { examples } from '../examples.js';
import type { AddVerb, JobCommand, Program } from '../verb.js';

/** Adds `cancel` to the program, or to `job`. */
export const addCancelTo = (parent: JobCommand | Program, program: Program, name: string): void => {
  parent
    .command('cancel')
    .summary('cancel a job')
    .description(
      'Asks a job to stop, waits until it has ended and cleaned up, and prints how it ended: cancelled, or what it was before. A job that has ended already stays as it is.',
    )
    .argument('<JOB>', 'id of a job, as `jobs` prints it')
    .option('--json', 'print the ended job as JSON')
    .addHelpText('after', examples(`${name} k3v9x2m7qa`))
    .action(async (id, { json = false }) => {
      const job = await withAgent(program, (agent) => agent.cancelJob(id));
      const { printLine } = await import('../output.js');
      const { printDone } = await import('../write-output.js');
      const text = json ? (await import('../render/json.js')).toJson(job) : job.state;
      await printDone(`job ${job.id} has ended: ${job.state}`, printLine(text));
    });
};

export const addCancel: AddVerb = (program) => {
  addCancelTo(program, program, 'cancel');
};
