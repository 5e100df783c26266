import { FerryError } from '@rbdferry/core/errors/ferry-error.js';
import { orThrow } from '@rbdferry/core/errors/parsed.js';
import { splitChainName } from '@rbdferry/core/model/backup-id.js';
import type { Backup, Chain } from '@rbdferry/core/model/chain.js';
import { byImage } from '@rbdferry/core/model/image-backups.js';
import { formatImageSpec, parsePoolSpec, type ImageSpec } from '@rbdferry/core/model/image-spec.js';
import { clustersOf, newestNotAfter } from '@rbdferry/core/model/newest-backup.js';
import { collect } from '../backup/look-at-source.js';
import type { JobContext, JobOutcome } from '../jobs/job-context.js';
import type { RestoreJobRequest } from '../restore/restore-jobs.js';
import type { RestoreBatch } from './batch-jobs.js';
import { allEnded, breakOff, outcomeOf } from './batch-end.js';
import { Globs, samePool } from './selection.js';

const shownNames = 5;

/** An image that comes back: from which backup, and under which name. */
interface Comeback {
  readonly to: string;
  readonly backup: Backup;
}

/**
 * Restores the images of a pool, each from its newest backup, or the newest that holds it as it was at a moment. Started again after the agent was
 * stopped, it waits for the restores that are there, and begins those that are not.
 */
export const restoreAll = async (request: RestoreBatch, job: JobContext): Promise<JobOutcome> => {
  job.phase('plan');
  const known = new Set(job.children.earlier().map(({ image }) => image));
  const fresh = (await comebacksOf(request, job)).filter(({ to }) => !known.has(to));
  if (!request.replace) await refuseExisting(request, fresh, job);
  const { receiver, store, replace, limitBytesPerSecond, attempts } = request;
  const children = fresh.map(({ to, backup }): RestoreJobRequest => ({
    kind: 'restore',
    backupId: backup.id,
    receiver,
    store,
    to,
    replace,
    ...(limitBytesPerSecond === undefined ? {} : { limitBytesPerSecond }),
    ...(attempts === undefined ? {} : { attempts }),
  }));
  try {
    job.children.add(children, (added) => {
      for (const child of added) child.queue(null, { isLarge: false });
    });
    job.children.start();
    job.phase('transfer');
    await allEnded(job);
  } catch (thrown) {
    await breakOff([], job);
    throw thrown;
  }
  return outcomeOf(job, 'restores');
};

/** @throws NOTHING_SELECTED, BACKUP_AMBIGUOUS, the failure of a chain that could not be read */
const comebacksOf = async (request: RestoreBatch, job: JobContext): Promise<Comeback[]> => {
  const { store, atMs } = request;
  const from = orThrow(parsePoolSpec(request.pool), 'INVALID_IMAGE_SPEC');
  const to = orThrow(parsePoolSpec(request.toPool), 'INVALID_IMAGE_SPEC');
  const globs = new Globs(request);
  const comebacks: Comeback[] = [];
  const unreadable = new Map<string, FerryError>();
  const all = imagesIn(await chainsOfStore(store, unreadable, job));
  const images = [...all.values()].filter(({ spec }) => samePool(spec, from) && globs.selects(spec, null));
  // Which pool an image was in stands in the chain: one that cannot be read may be of this one.
  for (const [image, error] of unreadable) {
    if (image === '' || globs.selects({ ...from, image }, null)) throw newestUnknown(image, error);
  }
  const fsid = await job.ceph.fsid(job);
  for (const { spec, chains } of images) {
    const name = formatImageSpec(spec);
    const wished = { atMs, nowMs: job.receiver.now(), fsid: clustersOf(chains).size > 1 ? fsid : null };
    const choice = newestNotAfter(chains, wished);
    if (choice.kind === 'chosen')
      comebacks.push({ to: formatImageSpec({ ...to, image: spec.image }), backup: choice.backup });
    else if (choice.kind === 'too-early')
      job.warn(`${name} is left out: its oldest backup is later (${choice.oldest.id})`);
    else if (choice.kind === 'several') {
      throw new FerryError(
        'BACKUP_AMBIGUOUS',
        `several clusters have backups of ${name}: ${listed(choice.newest.map(({ id }) => id))}`,
        {
          hint: 'leave it out with --exclude, and restore it by the id of a backup',
        },
      );
    }
  }
  if (comebacks.length === 0) {
    throw new FerryError(
      'NOTHING_SELECTED',
      `store ${JSON.stringify(store)} has nothing of ${request.pool} that was asked for`,
      {
        hint: '`rbdferry list` prints what it has; the pool is the one that the images were in',
      },
    );
  }
  for (const glob of globs.idle) job.warn(`the glob ${JSON.stringify(glob)} matches no image`);
  return comebacks.toSorted((a, b) => (a.to < b.to ? -1 : 1));
};

/** Each image once, whatever clusters it was on. Those of the older tool are of no pool that anybody knows. */
const imagesIn = (chains: readonly Chain[]): Map<string, { spec: ImageSpec; chains: Chain[] }> => {
  const images = new Map<string, { spec: ImageSpec; chains: Chain[] }>();
  for (const { source, chains: of } of byImage(chains)) {
    if (source === null) continue;
    const name = formatImageSpec(source.image);
    const image = images.get(name) ?? { spec: source.image, chains: [] };
    image.chains.push(...of);
    images.set(name, image);
  }
  return images;
};

/** @param unreadable gets the names of images with a chain that cannot be read */
const chainsOfStore = (
  store: string,
  unreadable: Map<string, FerryError>,
  { receiver, signal }: JobContext,
): Promise<Chain[]> =>
  collect(
    receiver.chains(store, null, {
      signal,
      onUnreadable: ({ name, error }) => {
        unreadable.set(splitChainName(name)?.image ?? '', error);
      },
    }),
  );

/** The chain may hold the very backup, and an older one is not what was asked for. */
const newestUnknown = (image: string, error: FerryError): FerryError =>
  new FerryError(
    error.code,
    `what is newest of ${image === '' ? 'an image' : image} is not known, a chain cannot be read: ${error.message}`,
    {
      hint: `leave it out with --exclude, and restore it by the id of a backup; ${error.hint}`,
      cause: error,
    },
  );

/** Before anything is begun. @throws IMAGE_EXISTS */
const refuseExisting = async (request: RestoreBatch, fresh: readonly Comeback[], job: JobContext): Promise<void> => {
  const pool = orThrow(parsePoolSpec(request.toPool), 'INVALID_IMAGE_SPEC');
  const names = new Set((await job.ceph.list(pool, job)).map((image) => formatImageSpec({ ...pool, image })));
  const taken = fresh.filter(({ to }) => names.has(to)).map(({ to }) => to);
  if (taken.length === 0) return;
  throw new FerryError(
    'IMAGE_EXISTS',
    `${taken.length} of ${fresh.length} images are there already: ${listed(taken)}`,
    {
      hint: 'restore to another pool with --to, or put the existing images into the trash with --replace',
    },
  );
};

const listed = (names: readonly string[]): string =>
  names.length > shownNames
    ? `${names.slice(0, shownNames).join(', ')} and ${names.length - shownNames} more`
    : names.join(', ');
