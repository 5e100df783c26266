import { Option } from '@commander-js/extra-typings';
import { FerryError } from '@rbdferry/core/errors/ferry-error.js';
import { withAgent } from '../agent.js';
import { endWith } from '../end-with.js';
import { examples } from '../examples.js';
import {
  asyncOption,
  attemptsOption,
  idempotencyKeyOption,
  allPoolsOption,
  excludeOption,
  imagesArgument,
  matchOption,
  poolOption,
  limitOption,
  receiverOption,
  storeOption,
} from '../options.js';
import type { AddVerb } from '../verb.js';

export const addBackup: AddVerb = (program) => {
  program
    .command('backup')
    .description(
      'Backs up images and prints the id of each backup. Several images, and those of pools, are a batch: their snapshots are made as close together as Ceph allows, then they are transferred; one that fails stops no other. Ctrl-C cancels the job and waits until it has cleaned up.',
    )
    .argument('[IMAGE...]', 'POOL/IMAGE or POOL/NAMESPACE/IMAGE', imagesArgument)
    .addOption(poolOption())
    .addOption(allPoolsOption())
    .addOption(matchOption())
    .addOption(excludeOption())
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
    .addOption(limitOption())
    .addOption(attemptsOption())
    .addOption(asyncOption())
    .addOption(idempotencyKeyOption())
    .option('--json', 'print the job as JSON instead of an id')
    .addHelpText(
      'after',
      examples(
        'backup rbd/vm1',
        'backup rbd/vm1 --mode full',
        'backup rbd/tenant/vm1 --receiver dr --store rbd2 --json',
        'backup rbd/vm1 --limit 50MiB/s',
        'backup rbd/vm1 --async',
        'backup rbd/vm1 --idempotency-key vm1-2026-11-24',
        'backup rbd/vm1 rbd/vm2',
        "backup --pool rbd --pool ssd/tenant --match 'vm*' --exclude '*-scratch'",
        'backup --all',
      ),
    )
    .action(async (images = [], { json = false, async = false, pool, all, match, exclude, ...request }) => {
      const isOfPools = pool !== undefined || all === true;
      if (images.length === 0 && !isOfPools)
        throw misused('say which images to back up: name them, or --pool, or --all');
      if ((match ?? exclude) !== undefined && !isOfPools)
        throw misused('globs choose among the images of pools: give --pool or --all as well');
      const [image, ...others] = images;
      const status = await withAgent(program, async (agent) => {
        if (image !== undefined && others.length === 0 && !isOfPools) {
          const { runJob } = await import('../run-job.js');
          return runJob(agent, () => agent.startBackup({ image, ...request }), { json, async: async && 'job' });
        }
        const { runBatch } = await import('../run-batch.js');
        const selection = { images, pools: pool, all, match, exclude };
        return runBatch(agent, () => agent.startBackups({ selection, ...request }), { json, async });
      });
      endWith(status);
    });
};

const misused = (message: string): FerryError => new FerryError('USAGE', message);
