import { FerryError } from '@rbdferry/core/errors/ferry-error.js';
import { withAgent } from '../agent.js';
import type { DeleteRequest } from '../client.js';
import { examples } from '../examples.js';
import {
  durationArgument,
  imageArgument,
  numberArgument,
  receiverOption,
  storeOption,
  timeZoneArgument,
} from '../options.js';
import type { AddVerb } from '../verb.js';

export const addPrune: AddVerb = (program) => {
  program
    .command('prune')
    .description(
      "Deletes the backups that no keep rule keeps, and says of each backup what becomes of it and why. What any rule keeps stays. Of each hour, day, week (ISO 8601), month or year a rule keeps the newest backup, for the newest N that have one: a gap uses up nothing. Without rules those of the store's configuration are used. The newest backup of an image always stays, and so do the one that the next increment builds on, held ones, and those that are younger than the min_age.",
    )
    .argument('[IMAGE...]', 'images: POOL/IMAGE or POOL/NAMESPACE/IMAGE')
    .option('--all-images', 'every image in the store')
    .option('--keep-last <N>', 'keep the newest N backups', numberArgument)
    .option('--keep-hourly <N>', 'keep the newest backup of each of N hours', numberArgument)
    .option('--keep-daily <N>', 'the same for N days', numberArgument)
    .option('--keep-weekly <N>', 'the same for N weeks', numberArgument)
    .option('--keep-monthly <N>', 'the same for N months', numberArgument)
    .option('--keep-yearly <N>', 'the same for N years', numberArgument)
    .option(
      '--keep-within <TIME>',
      'keep what was made within TIME before the newest, as 36h, 30d or 2w',
      durationArgument,
    )
    .option('--min-age <TIME>', 'take nothing that is younger (nor than the min_age of the store)', durationArgument)
    .option(
      '--time-zone <ZONE>',
      "in which days begin, as Europe/Berlin (default: the store's, or UTC)",
      timeZoneArgument,
    )
    .option('--dry-run', 'say what would become of each backup, and delete nothing')
    .addOption(receiverOption())
    .addOption(storeOption())
    .option('--json', 'print policy, decisions, what went, and the notes, as JSON')
    .addHelpText(
      'after',
      examples(
        'prune --all-images --dry-run',
        'prune rbd/vm1 --keep-daily 7 --keep-weekly 5 --keep-monthly 12 --time-zone Europe/Berlin',
        "prune --all-images --dry-run --json | jq -r '.decisions[] | select(.goes) | .id'",
      ),
    )
    .action(async (images, { receiver, store, dryRun = false, json = false, ...options }) => {
      const selection = selectionOf(images, options);
      const { printPrune } = await import('../delete-backups.js');
      await withAgent(program, (agent) => printPrune(agent, selection, { place: { receiver, store }, dryRun, json }));
    });
};

interface Options {
  readonly allImages?: boolean | undefined;
  readonly keepLast?: number | undefined;
  readonly keepHourly?: number | undefined;
  readonly keepDaily?: number | undefined;
  readonly keepWeekly?: number | undefined;
  readonly keepMonthly?: number | undefined;
  readonly keepYearly?: number | undefined;
  readonly keepWithin?: number | undefined;
  readonly minAge?: number | undefined;
  readonly timeZone?: string | undefined;
}

const selectionOf = (named: readonly string[], options: Options): DeleteRequest['selection'] => {
  const { allImages = false, keepWithin, minAge, timeZone = '' } = options;
  if (allImages === named.length > 0) {
    throw new FerryError('USAGE', 'name images, or say --all-images', { hint: 'see rbdferry prune --help' });
  }
  const rules = {
    last: options.keepLast,
    hourly: options.keepHourly,
    daily: options.keepDaily,
    weekly: options.keepWeekly,
    monthly: options.keepMonthly,
    yearly: options.keepYearly,
    withinMs: keepWithin === undefined ? undefined : BigInt(keepWithin),
    minAgeMs: minAge === undefined ? undefined : BigInt(minAge),
    timeZone,
  };
  return { $case: 'policy', value: { images: named.map(imageArgument), allImages, keepIds: [], rules, explain: true } };
};
