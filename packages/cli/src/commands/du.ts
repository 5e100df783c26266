import { FerryError } from '@rbdferry/core/errors/ferry-error.js';
import { withAgent } from '../agent.js';
import {
  allStoresOption,
  examples,
  imageOrIdArgument,
  receiverOption,
  storeOption,
  type ImageOrId,
} from '../options.js';
import type { AddVerb } from '../verb.js';
import { totalsOf, wholeMegabytes, type ChainUsageView } from '../view/usage.js';

const id = 'rbd2/vm1.2026-11-24.10:40:39.458883.bkp.image@2026-11-24.22:40:43.707889.snap';

export const addDu: AddVerb = (program) => {
  program
    .command('du')
    .summary('show what backups take up')
    .description(
      'Shows what the backups of an image take up, or what one backup added, or everything in a store: the bytes that each backup added (as `rbd diff` counts them), the size of the image, and the number of backups.',
    )
    .argument('[WHAT]', 'an image or the id of a backup (default: the whole store)', imageOrIdArgument)
    .addOption(receiverOption())
    .addOption(storeOption().conflicts('allStores'))
    .addOption(allStoresOption())
    .option('--mb', 'print one whole number: MB of 1048576 bytes, rounded down')
    .option('--json', 'print chains and totals as JSON, exact to the byte')
    .addHelpText('after', examples('du', 'du rbd/vm1', `du ${id} --mb`, "du --all-stores --json | jq '.usedBytes'"))
    .action(async (what, { mb = false, json = false, ...place }) => {
      if (mb && json) throw new FerryError('USAGE', '--mb and --json do not go together');
      const chains = await withAgent(program, (agent) => collect(agent.usage({ ...place, ...what })));
      const { printLine } = await import('../output.js');
      const totals = totalsOf(chains);
      if (mb) await printLine(String(wholeMegabytes(totals.usedBytes)));
      else if (json) await printLine((await import('../render/json.js')).toJson({ ...totals, chains }));
      else await printTable(chains, what);
    });
};

const collect = async (usage: AsyncIterable<ChainUsageView>): Promise<ChainUsageView[]> => {
  const chains: ChainUsageView[] = [];
  for await (const chain of usage) chains.push(chain);
  return chains;
};

const printTable = async (chains: readonly ChainUsageView[], { image }: ImageOrId = {}): Promise<void> => {
  const { note, printLine } = await import('../output.js');
  if (chains.length === 0) note(image === undefined ? 'no backups' : `no backups of ${image}`);
  else await printLine((await import('../render/tables.js')).usageTable(chains));
};
