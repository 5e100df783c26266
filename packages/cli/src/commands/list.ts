import { withAgent } from '../agent.js';
import { examples } from '../examples.js';
import { imageArgument, receiverOption, storeOption } from '../options.js';
import type { AddVerb } from '../verb.js';
import type { ChainView } from '../view/chain.js';

export const addList: AddVerb = (program) => {
  program
    .command('list')
    .description('Lists the chains of an image, or of the whole store, with their backups.')
    .argument('[IMAGE]', 'POOL/IMAGE or POOL/NAMESPACE/IMAGE', imageArgument)
    .addOption(receiverOption())
    .addOption(storeOption())
    .option('--json', 'print a JSON array of chains, a chain a line')
    .addHelpText('after', examples('list', 'list rbd/vm1', "list rbd/vm1 --json | jq -r '.[].backups[].id'"))
    .action(async (image, { receiver, store, json = false }) => {
      await withAgent(program, async (agent) => {
        const { ListingNotes } = await import('../listing-notes.js');
        const notes = new ListingNotes(image);
        const chains = notes.watch(agent.listBackups({ image, receiver, store }));
        if (json) await (await import('../render/json.js')).printJsonArray(chains);
        else await printTables(chains);
      });
    });
};

/** A table a chain, as they come: a store may hold thousands. */
const printTables = async (chains: AsyncIterable<ChainView>): Promise<void> => {
  const { print } = await import('../output.js');
  const { chainTable } = await import('../render/tables.js');
  let count = 0;
  for await (const chain of chains) {
    if (chain.error !== null) continue;
    await print(`${count === 0 ? '' : '\n'}${chainTable(chain)}\n`);
    count += 1;
  }
};
