import { FerryError } from '@rbdferry/core/errors/ferry-error.js';
import { parseImageSpec } from '@rbdferry/core/model/image-spec.js';
import { withAgent } from '../agent.js';
import type { AgentClient, Place } from '../client.js';
import { examples } from '../examples.js';
import {
  backupIdArgument,
  chainArgument,
  countArgument,
  durationArgument,
  imageArgument,
  receiverOption,
  storeOption,
} from '../options.js';
import type { AddVerb } from '../verb.js';

const chain = 'vm1.2026-11-24.10:40:39.458883.bkp.image';

export const addDelete: AddVerb = (program) => {
  program
    .command('delete')
    .description(
      'Deletes backups and prints their ids: those named, a chain, or those of images that a rule lets go. Every other backup stays restorable. Rules go by the image that each backup is of, whatever chain it is in. What a --keep rule keeps stays; of the rest those go that are --older-than AGE, or all of them when no age is given. No rule takes the newest backup of an image.',
    )
    .argument('[WHAT...]', 'ids of backups; with a rule or --source-snapshots: images')
    .option('--chain <CHAIN>', 'a whole chain: [STORE/]IMAGE.TIMESTAMP.bkp.image', chainArgument)
    .option(
      '--older-than <AGE>',
      'rule: only backups older than this, as 36h, 30d or 2w, by the time of the commit',
      durationArgument,
    )
    .option('--keep-last <N>', 'rule: keep the newest N backups of each image', countArgument)
    .option('--keep-full <N>', 'rule: keep what is in the newest N chains with backups of the image', countArgument)
    .option('--all-images', 'a rule is for every image in the store')
    .option(
      '--source-snapshots',
      'not backups but the snapshots that rbdferry keeps on these images for the next increment; it will be a full',
    )
    .option('--dry-run', 'print what would go, and delete nothing')
    .addOption(receiverOption())
    .addOption(storeOption())
    .option('--json', 'print what went, and the notes, as JSON')
    .addHelpText(
      'after',
      examples(
        `delete rbd2/${chain}@2026-11-24.22:40:43.707889.snap`,
        `delete --chain rbd2/${chain}`,
        'delete rbd/vm1 --keep-last 14 --dry-run',
        'delete --all-images --older-than 30d --keep-last 14',
        'delete rbd/vm1 --keep-full 2',
        'delete --source-snapshots rbd/vm1',
      ),
    )
    .action(async (what, { receiver, store, dryRun = false, json = false, ...options }) => {
      const target = targetOf(what, options);
      await withAgent(program, (agent) => run(agent, target, { place: { receiver, store }, dryRun, json }));
    });
};

interface Options {
  readonly chain?: string | undefined;
  readonly olderThan?: number | undefined;
  readonly keepLast?: number | undefined;
  readonly keepFull?: number | undefined;
  readonly allImages?: boolean | undefined;
  readonly sourceSnapshots?: boolean | undefined;
}

/** What the command line says is to be deleted. */
type Target =
  | { readonly kind: 'ids'; readonly ids: string[] }
  | { readonly kind: 'chain'; readonly chain: string }
  | { readonly kind: 'rule'; readonly images: string[]; readonly rule: Rule }
  | { readonly kind: 'source-snapshots'; readonly images: string[] };

type Rule = Pick<Options, 'olderThan' | 'keepLast' | 'keepFull'>;

/** Different ways to say what is to be deleted are never mixed: a misunderstanding would cost backups. */
const targetOf = (what: readonly string[], options: Options): Target => {
  const { chain, olderThan, keepLast, keepFull, allImages = false, sourceSnapshots = false } = options;
  const rule = { olderThan, keepLast, keepFull };
  const hasRule = Object.values(rule).some((value) => value !== undefined);
  if ([chain !== undefined, hasRule, sourceSnapshots].filter(Boolean).length > 1) {
    throw usage('--chain, --source-snapshots and the rules do not go together');
  }
  if (allImages && (!hasRule || what.length > 0)) throw usage('--all-images goes with a rule and without images');
  if (chain !== undefined) {
    if (what.length > 0) throw usage('--chain takes no further arguments');
    return { kind: 'chain', chain };
  }
  if (hasRule) {
    if (!allImages && what.length === 0) throw usage('a rule needs images, or --all-images');
    return { kind: 'rule', images: what.map(imageNotId), rule };
  }
  if (sourceSnapshots) {
    if (what.length === 0) throw usage('--source-snapshots needs images');
    return { kind: 'source-snapshots', images: what.map(imageNotId) };
  }
  if (what.length === 0) throw usage('nothing is named to be deleted');
  return { kind: 'ids', ids: what.map(idNotImage) };
};

const usage = (message: string): FerryError =>
  new FerryError('USAGE', message, {
    hint: 'name ids of backups, a --chain, or images with --older-than, --keep-last or --keep-full; see rbdferry delete --help',
  });

const imageNotId = (text: string): string => {
  if (text.includes('@'))
    throw usage(`rules and --source-snapshots are for images, and ${JSON.stringify(text)} is a backup`);
  return imageArgument(text);
};

const idNotImage = (text: string): string => {
  if (text.includes('@') || !parseImageSpec(text).ok) return backupIdArgument(text);
  throw usage(`${JSON.stringify(text)} is an image or a chain: say which of its backups may go`);
};

interface RunOptions {
  readonly place: Place;
  readonly dryRun: boolean;
  readonly json: boolean;
}

const run = async (agent: AgentClient, target: Target, options: RunOptions): Promise<void> => {
  const { printDeletion, printSourceSnapshots } = await import('../delete-backups.js');
  if (target.kind === 'source-snapshots') await printSourceSnapshots(agent, target.images, options);
  else await printDeletion(agent, selectionOf(target), options);
};

const selectionOf = (target: Exclude<Target, { kind: 'source-snapshots' }>) => {
  switch (target.kind) {
    case 'ids':
      return { $case: 'ids' as const, value: { ids: target.ids } };
    case 'chain':
      return { $case: 'chain' as const, value: target.chain };
    case 'rule': {
      const { images, rule } = target;
      const { olderThan, keepLast, keepFull } = rule;
      const olderThanMs = olderThan === undefined ? undefined : BigInt(olderThan);
      return {
        $case: 'policy' as const,
        value: {
          images,
          allImages: images.length === 0,
          olderThanMs,
          keepLast,
          keepFull,
          keepIds: [],
          rules: undefined,
        },
      };
    }
  }
};
