import { withAgent } from '../agent.js';
import { examples } from '../examples.js';
import { backupIdArgument, receiverOption, storeOption } from '../options.js';
import type { AddVerb } from '../verb.js';

const id = 'rbd2/vm1.2026-11-24.10:40:39.458883.bkp.image@2026-11-24.22:40:43.707889.snap';

export const addRelease: AddVerb = (program) => {
  program
    .command('release')
    .description(
      'Takes the hold off a backup, which may then be deleted like any other. One that is not held stays so.',
    )
    .argument('<ID>', 'the id of the backup, whole or short', backupIdArgument)
    .addOption(receiverOption())
    .addOption(storeOption())
    .option('--json', 'print the hold that it had as JSON')
    .addHelpText('after', examples(`release ${id}`))
    .action(async (backupId, { json = false, ...place }) => {
      const { id: released, before } = await withAgent(program, (agent) => agent.release({ backupId, ...place }));
      const { note, printLine } = await import('../output.js');
      if (json) {
        await printLine((await import('../render/json.js')).toJson({ id: released, before }));
        return;
      }
      const { holdText } = await import('../view/hold.js');
      note(before === null ? `${released} was not held` : `${released} is released; it was ${holdText(before)}`);
    });
};
