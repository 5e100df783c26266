import { Option } from '@commander-js/extra-typings';
import { withAgent } from '../agent.js';
import { endWith } from '../end-with.js';
import { examples } from '../examples.js';
import {
  asyncOption,
  attemptsOption,
  idempotencyKeyOption,
  imageArgument,
  limitOption,
  receiverOption,
  storeOption,
} from '../options.js';
import type { AddVerb } from '../verb.js';

export const addBackup: AddVerb = (program) => {
  program
    .command('backup')
    .description(
      'Backs up an image and prints the id of the backup. Ctrl-C cancels the job and waits until it has cleaned up.',
    )
    .argument('<IMAGE>', 'POOL/IMAGE or POOL/NAMESPACE/IMAGE', imageArgument)
    .addOption(
      new Option(
        '--mode <MODE>',
        'full; incr: refuse if there is nothing to build on; auto: incr if possible, else full',
      )
        .choices(['full', 'incr', 'auto'] as const)
        .default('auto' as const),
    )
    .addOption(receiverOption())
    .addOption(storeOption())
    .addOption(limitOption())
    .addOption(attemptsOption())
    .addOption(asyncOption())
    .addOption(idempotencyKeyOption())
    .option('--json', 'print the job as JSON instead of an id')
    .addHelpText(
      'after',
      examples(
        'backup rbd/vm1',
        'backup rbd/vm1 --mode full',
        'backup rbd/tenant/vm1 --receiver dr --store rbd2 --json',
        'backup rbd/vm1 --limit 50MiB/s',
        'backup rbd/vm1 --async',
        'backup rbd/vm1 --idempotency-key vm1-2026-11-24',
      ),
    )
    .action(async (image, { json = false, async = false, ...request }) => {
      const status = await withAgent(program, async (agent) => {
        const { runJob } = await import('../run-job.js');
        return runJob(agent, () => agent.startBackup({ image, ...request }), { json, async: async && 'job' });
      });
      endWith(status);
    });
};
