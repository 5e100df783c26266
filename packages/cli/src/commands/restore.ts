import { withAgent } from '../agent.js';
import { endWith } from '../end-with.js';
import { examples } from '../examples.js';
import {
  asyncOption,
  attemptsOption,
  backupIdArgument,
  idempotencyKeyOption,
  imageArgument,
  limitOption,
  receiverOption,
} from '../options.js';
import type { AddVerb } from '../verb.js';

const id = 'rbd2/vm1.2026-11-24.10:40:39.458883.bkp.image@2026-11-24.22:40:43.707889.snap';

export const addRestore: AddVerb = (program) => {
  program
    .command('restore')
    .description(
      'Restores a backup as an image and prints the name of the image. Nothing is touched under that name until the restored image is whole.',
    )
    .argument('<ID>', 'id of a backup, as `list` prints it', backupIdArgument)
    .option('--to <IMAGE>', 'POOL/IMAGE or POOL/NAMESPACE/IMAGE (default: the name it had)', imageArgument)
    .option('--replace', 'put an existing image of that name into the trash')
    .addOption(receiverOption())
    .addOption(limitOption())
    .addOption(attemptsOption())
    .addOption(asyncOption())
    .addOption(idempotencyKeyOption())
    .option('--json', 'print the job as JSON instead of the name')
    .addHelpText(
      'after',
      examples(
        `restore ${id}`,
        `restore ${id} --to rbd/vm1-yesterday`,
        `restore ${id} --replace`,
        `restore ${id} --limit 400Mbit/s`,
      ),
    )
    .action(async (backupId, { replace = false, json = false, async = false, ...request }) => {
      const status = await withAgent(program, async (agent) => {
        const { runJob } = await import('../run-job.js');
        return runJob(agent, () => agent.startRestore({ backupId, replace, ...request }), {
          json,
          async: async && 'job',
        });
      });
      endWith(status);
    });
};
