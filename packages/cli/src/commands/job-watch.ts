import { withAgent } from '../agent.js';
import type { AgentClient } from '../client.js';
import { endWith } from '../end-with.js';
import { examples } from '../examples.js';
import type { AddJobVerb } from '../verb.js';
import type { ProgressDisplay } from '../render/progress.js';

export const addJobWatch: AddJobVerb = (job, program) => {
  job
    .command('watch')
    .summary('watch a job until it has ended')
    .description(
      'Shows how a job gets on until it has ended: a bar on a terminal, else a line for each change of phase. Ends as `job wait` does. Leaving early does not touch the job.',
    )
    .argument('<JOB>', 'id of a job, as `jobs` prints it')
    .option('--json', 'print each state as a line of JSON, the end last')
    .addHelpText('after', examples('job watch k3v9x2m7qa', "job watch k3v9x2m7qa --json | jq '.doneBytes'"))
    .action(async (id, { json = false }) => {
      endWith(await withAgent(program, (agent) => watch(agent, id, json)));
    });
};

const watch = async (agent: AgentClient, id: string, json: boolean): Promise<number> => {
  const { watchJobToEnd } = await import('../watch-job.js');
  const { reportEnd } = await import('../report-batch.js');
  const display = await displayFor(json);
  try {
    const ended = await watchJobToEnd(agent, id, display);
    display.stop();
    return await reportEnd(agent, { job: ended, interrupted: false }, { json });
  } finally {
    display.stop();
  }
};

const displayFor = async (json: boolean): Promise<ProgressDisplay> => {
  const { jsonLines, phaseLines } = await import('../render/watch.js');
  if (json) return jsonLines();
  const { progressOnTerminal } = await import('../render/progress.js');
  return process.stderr.isTTY ? progressOnTerminal() : phaseLines();
};
