import { withAgent } from '../agent.js';
import { examples } from '../examples.js';
import { imageArgument, receiverOption, storeOption } from '../options.js';
import type { AddVerb } from '../verb.js';

export const addDump: AddVerb = (program) => {
  program
    .command('dump')
    .description(
      'Shows the chains of an image, or of the whole store, with all that is known of their backups, also what each added to the store. What was not measured yet is measured now; `list` is the cheap one.',
    )
    .argument('[IMAGE]', 'POOL/IMAGE or POOL/NAMESPACE/IMAGE', imageArgument)
    .addOption(receiverOption())
    .addOption(storeOption())
    .option('--json', 'print a JSON array of chains, a chain a line')
    .addHelpText('after', examples('dump rbd/vm1', "dump rbd/vm1 --json | jq '.[].backups[].addedBytes'"))
    .action(async (image, { json = false, ...place }) => {
      const { dumpOf } = await import('../dump-backups.js');
      const { ListingNotes, noteUnreadable } = await import('../listing-notes.js');
      const all = await withAgent(program, (agent) => dumpOf(agent, { image, ...place }, noteUnreadable));
      const { print, printLine } = await import('../output.js');
      const notes = new ListingNotes(image);
      for (const chain of all) notes.saw(chain);
      notes.close();
      if (json) {
        await (await import('../render/json.js')).printJsonArray(all);
        return;
      }
      const { dumpTable } = await import('../render/tables.js');
      for (const [index, chain] of all.filter(({ error }) => error === null).entries()) {
        if (index > 0) await print('\n');
        await printLine(dumpTable(chain));
      }
    });
};
