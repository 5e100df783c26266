import { withAgent } from '../agent.js';
import { examples } from '../examples.js';
import { backupIdArgument, receiverOption, storeOption, timeArgument } from '../options.js';
import type { AddVerb } from '../verb.js';

const id = 'rbd2/vm1.2026-11-24.10:40:39.458883.bkp.image@2026-11-24.22:40:43.707889.snap';

export const addHold: AddVerb = (program) => {
  program
    .command('hold')
    .description(
      'Keeps a backup from being deleted, by whatever rule or command, until a time or until it is released. A hold that it has already is replaced. `list` shows holds.',
    )
    .argument('<ID>', 'the id of the backup, whole or short', backupIdArgument)
    .option(
      '--until <TIME>',
      'when the hold ends: a day or a time (UTC); without it, when it is released',
      timeArgument,
    )
    .option('--reason <TEXT>', 'why, for whoever wants to delete it; at most 1000 bytes')
    .addOption(receiverOption())
    .addOption(storeOption())
    .option('--json', 'print the hold as JSON')
    .addHelpText('after', examples(`hold ${id}`, `hold ${id} --until 2027-06-30 --reason "audit 2026"`))
    .action(async (backupId, { until, reason = '', json = false, ...place }) => {
      const request = { backupId, until: until ?? null, reason, ...place };
      const held = await withAgent(program, (agent) => agent.hold(request));
      const { note, printLine } = await import('../output.js');
      if (json) {
        await printLine((await import('../render/json.js')).toJson(held));
        return;
      }
      const { holdText } = await import('../view/hold.js');
      if (held.before !== null) note(`it was ${holdText(held.before)} before`);
      note(`${held.id} is ${holdText(held.hold)}`);
    });
};
