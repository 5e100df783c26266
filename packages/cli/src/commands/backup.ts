import { Option } from '@commander-js/extra-typings';
import { withAgent } from '../agent.js';
import { examples, imageArgument, receiverOption, storeOption } from '../options.js';
import type { AddVerb } from '../verb.js';

export const addBackup: AddVerb = (program) => {
  program
    .command('backup')
    .summary('back up an image')
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
    .option('--json', 'print the ended job as JSON instead of the id')
    .addHelpText(
      'after',
      examples(
        'backup rbd/vm1',
        'backup rbd/vm1 --mode full',
        'backup rbd/tenant/vm1 --receiver dr --store rbd2 --json',
      ),
    )
    .action(async (image, { mode, receiver, store, json = false }) => {
      process.exitCode = await withAgent(program, async (agent) => {
        const { followAndReport } = await import('../run-job.js');
        return followAndReport(agent, () => agent.startBackup({ image, mode, receiver, store }), { json });
      });
    });
};
