import { Option } from '@commander-js/extra-typings';
import { FerryError } from '@rbdferry/core/errors/ferry-error.js';
import { splitChainName } from '@rbdferry/core/model/backup-id.js';
import { parseImageSpec } from '@rbdferry/core/model/image-spec.js';
import { parseNamedBackup } from '@rbdferry/core/wire/short-id.js';
import { withAgent } from '../agent.js';
import type { WantedBackup } from '../client.js';
import { endWith } from '../end-with.js';
import { examples } from '../examples.js';
import { momentArgument } from '../moment.js';
import {
  asyncOption,
  attemptsOption,
  excludeOption,
  matchOption,
  poolArgument,
  backupIdArgument,
  idempotencyKeyOption,
  imageArgument,
  limitOption,
  receiverOption,
  storeOption,
} from '../options.js';
import { note } from '../output.js';
import type { AddVerb } from '../verb.js';

const formats = ['raw', 'qcow2'] as const;
const id = 'rbd2/vm1.2026-11-24.10:40:39.458883.bkp.image@2026-11-24.22:40:43.707889.snap';

export const addRestore: AddVerb = (program) => {
  program
    .command('restore')
    .description(
      'Restores a backup as an image and prints the name of the image. Nothing is touched under that name until the restored image is whole.',
    )
    .argument('[WHAT]', 'id of a backup, whole or short, as `list` prints it; with --latest or --at an image')
    .option(
      '--pool <POOL>',
      'every image that POOL or POOL/NAMESPACE had, from its newest backup or as of --at, as one batch',
      poolArgument,
    )
    .addOption(matchOption())
    .addOption(excludeOption())
    .option('--latest', 'the newest backup of the image')
    .option(
      '--at <TIME>',
      'the image as it was at TIME: the newest backup whose snapshot was not made later. Local time, unless a zone stands behind it',
      momentArgument,
    )
    .option('--to <IMAGE>', 'POOL/IMAGE or POOL/NAMESPACE/IMAGE, with --pool a POOL (default: the name it had)')
    .option(
      '--to-file <PATH>',
      'not an image but a file with its content, sparse; - for stdout, with zeros written out. Written by whoever calls, beside PATH until it is whole',
    )
    .addOption(new Option('--format <FORMAT>', 'of the file (default: raw); qcow2 takes qemu-img').choices(formats))
    .option('--replace', 'put an existing image of that name into the trash; replace an existing file')
    .addOption(receiverOption())
    .addOption(storeOption())
    .addOption(limitOption())
    .addOption(attemptsOption())
    .addOption(asyncOption())
    .addOption(idempotencyKeyOption())
    .option('--json', 'print the job as JSON instead of the name')
    .addHelpText(
      'after',
      examples(
        `restore ${id}`,
        'restore 89363955 --to rbd/vm1-yesterday',
        'restore rbd/vm1 --latest --replace',
        'restore rbd/vm1 --at "2026-11-24 22:45" --to rbd/vm1-before',
        `restore ${id} --limit 400Mbit/s`,
        'restore --pool rbd --at 2026-11-24 --to recovered',
        'restore rbd/vm1 --latest --to-file vm1.raw',
        'restore 89363955 --to-file - | ssh other "cat > vm1.raw"',
      ),
    )
    .action(async (what, { latest = false, at, replace = false, json = false, async = false, ...options }) => {
      const { toFile: path, format, pool, match, exclude, to, ...rest } = options;
      if (pool !== undefined) {
        refuseForPool({ what, path, format });
        const wanted = { pool, match, exclude, atMs: at, to: to === undefined ? undefined : poolArgument(to) };
        const status = await withAgent(program, async (agent) => {
          const { runBatch } = await import('../run-batch.js');
          return runBatch(agent, () => agent.startRestores({ ...wanted, replace, ...rest }), { json, async });
        });
        endWith(status);
        return;
      }
      if ((match ?? exclude) !== undefined) throw usage('globs choose among the images of a pool: give --pool as well');
      if (what === undefined) throw usage('say what to restore: a backup, an image with --latest or --at, or --pool');
      const request = { ...rest, to: to === undefined ? undefined : imageArgument(to) };
      const wanted = wantedOf(what, { latest, at });
      if (path !== undefined) {
        refuseForFile({ path, format, json, async, ...request });
        await withAgent(program, async (agent) => {
          const { restoreToFile } = await import('../to-file/restore-to-file.js');
          const { receiver, store, limit } = request;
          await restoreToFile(
            agent,
            { ...wanted, receiver, store, limit },
            { path, format: format ?? 'raw', replace, json },
          );
        });
        return;
      }
      if (format !== undefined) throw usage('--format goes with --to-file');
      const status = await withAgent(program, async (agent) => {
        const { runJob } = await import('../run-job.js');
        const start = async () => {
          const job = await agent.startRestore({ ...wanted, replace, ...request });
          // Whoever named it by something else sees which one it is.
          if (job.backupId !== null && job.backupId !== what) note(`restoring ${job.backupId}`);
          return job;
        };
        return runJob(agent, start, { json, async: async && 'job' });
      });
      endWith(status);
    });
};

interface Which {
  readonly latest: boolean;
  readonly at: number | undefined;
}

/** An image and a backup are never taken for each other: the wrong disk would come back. */
const wantedOf = (what: string, { latest, at }: Which): WantedBackup => {
  if (latest && at !== undefined) throw usage('--latest and --at do not go together');
  if (!latest && at === undefined) {
    // A chain's name reads like an image's.
    const isChain = splitChainName(what.slice(what.lastIndexOf('/') + 1)) !== undefined;
    if (isChain || !parseImageSpec(what).ok) return { backupId: backupIdArgument(what) };
    throw usage(`${JSON.stringify(what)} is an image: say which of its backups, with --latest or --at TIME`);
  }
  if (parseNamedBackup(what).ok) {
    throw usage(`${latest ? '--latest' : '--at'} goes with an image, and ${JSON.stringify(what)} is a backup`);
  }
  return { image: imageArgument(what), atMs: at };
};

interface FileOptions {
  readonly path: string;
  readonly format: string | undefined;
  readonly json: boolean;
  readonly async: boolean;
  readonly to?: string | undefined;
  readonly attempts?: number | undefined;
  readonly idempotencyKey?: string | undefined;
}

/** What makes no sense with a pool. */
const refuseForPool = (given: {
  readonly what?: string | undefined;
  readonly path?: string | undefined;
  readonly format?: string | undefined;
}): void => {
  if (given.what !== undefined) throw usage('name a backup, or --pool, not both');
  if (given.path !== undefined || given.format !== undefined) throw usage('a pool is not restored to a file');
};

/** What makes no sense with a file. A disk is not written to a terminal. */
const refuseForFile = ({ path, format, json, async, to, attempts, idempotencyKey }: FileOptions): void => {
  if (to !== undefined) throw usage('--to and --to-file do not go together');
  if (async || attempts !== undefined || idempotencyKey !== undefined)
    throw usage('--async, --attempts and --idempotency-key are for jobs, and a restore to a file is none');
  if (path === '') throw usage('--to-file needs a path');
  if (path !== '-') return;
  if (format === 'qcow2') throw usage('qcow2 cannot be written to stdout');
  if (json) throw usage('--json and --to-file - would both write to stdout');
  if (process.stdout.isTTY) throw usage('stdout is a terminal: send it into a pipe or a file');
};

const usage = (message: string): FerryError =>
  new FerryError('USAGE', message, {
    hint: 'name the id of a backup, or an image with --latest or --at TIME; see rbdferry restore --help',
  });
