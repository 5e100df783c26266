import { FerryError } from '@rbdferry/core/errors/ferry-error.js';
import { withAgent } from '../agent.js';
import { examples } from '../examples.js';
import { allStoresOption, receiverOption, storeOption, usageArgument } from '../options.js';
import type { AddVerb } from '../verb.js';
import type { ChainUsageView, UnreadableView } from '../view/usage.js';

const id = 'rbd2/vm1.2026-11-24.10:40:39.458883.bkp.image@2026-11-24.22:40:43.707889.snap';

export const addDu: AddVerb = (program) => {
  program
    .command('du')
    .description(
      'Shows what the backups of an image or of a chain take up, or what one backup added, or everything in a store: the bytes that each backup added (as `rbd diff` counts them), the size of the image, and the number of backups.',
    )
    .argument('[WHAT]', 'an image, a chain or the id of a backup (default: the whole store)', usageArgument)
    .addOption(receiverOption())
    .addOption(storeOption().conflicts('allStores'))
    .addOption(allStoresOption())
    .option('--mb', 'print one whole number: MB of 1048576 bytes, rounded down')
    .option('--json', 'print chains and totals as JSON, exact to the byte')
    .addHelpText('after', examples('du', 'du rbd/vm1', `du ${id} --mb`, "du --all-stores --json | jq '.usedBytes'"))
    .action(async (what, { mb = false, json = false, ...place }) => {
      if (mb && json) throw new FerryError('USAGE', '--mb and --json do not go together');
      const { noteUnreadable } = await import('../listing-notes.js');
      const missing: UnreadableView[] = [];
      const onUnreadable = (chain: UnreadableView) => {
        missing.push(chain);
        noteUnreadable(chain);
      };
      const chains = await withAgent(program, (agent) => collect(agent.usage({ ...place, ...what, onUnreadable })));
      const { note, printLine } = await import('../output.js');
      const { totalsOf, wholeMegabytes } = await import('../view/usage.js');
      if (chains.length === 0) note(what?.image === undefined ? 'no backups' : `no backups of ${what.image}`);
      const totals = totalsOf(chains);
      if (mb) await printLine(String(wholeMegabytes(totals.usedBytes)));
      else if (json) await printLine((await import('../render/json.js')).toJson({ ...totals, chains, missing }));
      else if (chains.length > 0) await printLine((await import('../render/tables.js')).usageTable(chains));
    });
};

const collect = async (usage: AsyncIterable<ChainUsageView>): Promise<ChainUsageView[]> => {
  const chains: ChainUsageView[] = [];
  for await (const chain of usage) chains.push(chain);
  return chains;
};
