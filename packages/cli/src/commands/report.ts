import { FerryError } from '@rbdferry/core/errors/ferry-error.js';
import { withAgent } from '../agent.js';
import { examples } from '../examples.js';
import { allStoresOption, receiverOption, storeOption, timeArgument } from '../options.js';
import type { AddVerb } from '../verb.js';

export const addReport: AddVerb = (program) => {
  program
    .command('report')
    .description(
      'Prints a usage report for billing as CSV (RFC 4180): a line for each client, pool and image, with the backups that were committed in the time range and still exist, what they added to the store, and what went over the wire for them. A deleted backup is in no report any more, whatever the range: keep the reports you bill by.',
    )
    .option('--from <TIME>', 'only backups committed at or after this day or time (UTC)', timeArgument)
    .option('--until <TIME>', 'only backups committed before this day or time (UTC)', timeArgument)
    .addOption(receiverOption())
    .addOption(storeOption().conflicts('allStores'))
    .addOption(allStoresOption())
    .option('--json', 'print a JSON array of lines, a line a line')
    .addHelpText(
      'after',
      examples(
        'report --from 2026-11-01 --until 2026-12-01 > november.csv',
        "report --all-stores --json | jq '[.[].addedBytes] | add'",
      ),
    )
    .action(async ({ from, until, json = false, ...place }) => {
      if (from !== undefined && until !== undefined && from >= until) {
        throw new FerryError('USAGE', `--from ${from.toISOString()} is not before --until ${until.toISOString()}`);
      }
      const { UsageReport } = await import('../view/report.js');
      const { noteUnreadable } = await import('../listing-notes.js');
      const report = new UsageReport({ from, until });
      await withAgent(program, async (agent) => {
        for await (const chain of agent.usage({ ...place, onUnreadable: noteUnreadable })) report.add(chain);
      });
      const { print } = await import('../output.js');
      if (json) await (await import('../render/json.js')).printJsonArray(report.lines());
      else await print((await import('../render/csv.js')).reportCsv(report.lines()));
    });
};
