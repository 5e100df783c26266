import type { Chain } from '@rbdferry/core/model/chain.js';
import { splitChainName } from '@rbdferry/core/model/backup-id.js';
import type { UnreadableChain } from '@rbdferry/core/wire/unreadable-chain.js';
import { byImage } from '@rbdferry/core/model/image-backups.js';
import { formatImageSpec } from '@rbdferry/core/model/image-spec.js';
import { collect } from '../backup/look-at-source.js';
import type { JobContext, JobOutcome } from '../jobs/job-context.js';
import type { BackupBatch } from './batch-jobs.js';
import { allEnded, breakOff, outcomeOf } from './batch-end.js';
import { beginBackups, isPlanned, writeDown, type StoreSeen } from './begin-backups.js';
import { samePool, isSomebodys } from './selection.js';
import { selectImages, type SelectedImages } from './select-images.js';

const shownVanished = 20;

/**
 * Backs up the images of a selection: looks at both sides once, makes all snapshots, and waits for the jobs that transfer them. Started again
 * after the agent was stopped, it waits for those that are there, and begins those that are not.
 */
export const backUpAll = async (request: BackupBatch, job: JobContext): Promise<JobOutcome> => {
  job.phase('plan');
  const { selection, mode, store, receiver, limitBytesPerSecond, attempts } = request;
  const known = new Set(job.children.earlier().map(({ image }) => image));
  const { ceph, signal } = job;
  const warn = (text: string): void => {
    job.warn(text);
  };
  const looking = lookAtStore(store, job);
  looking.catch(() => {});
  const selected = await selectImages(selection, { ceph, pools: job.config.pools, signal, warn });
  const fresh = selected.images.filter(({ spec }) => !known.has(formatImageSpec(spec)));
  const seen = await looking;
  for (const text of vanished(selected, seen.chains, await ceph.fsid({ signal }))) job.warn(text);
  const child = {
    kind: 'backup' as const,
    mode,
    receiver,
    store,
    ...(limitBytesPerSecond === undefined ? {} : { limitBytesPerSecond }),
    ...(attempts === undefined ? {} : { attempts }),
  };
  const all = writeDown(fresh, { mode, store, child }, { seen, job });
  try {
    await beginBackups(all, job);
    if (known.size > 0) job.children.spread(null);
    job.phase('transfer');
    await allEnded(job);
  } catch (thrown) {
    await breakOff(all.filter(isPlanned), job);
    throw thrown;
  }
  return outcomeOf(job, 'backups');
};

/** Lists the store once. A chain that cannot be read is the matter of its image alone, see {@link StoreSeen}. */
const lookAtStore = async (store: string, job: JobContext): Promise<StoreSeen> => {
  const unreadable = new Set<string>();
  const onUnreadable = ({ name, error }: UnreadableChain): void => {
    unreadable.add(splitChainName(name)?.image ?? '');
    job.warn(`a chain of the store cannot be read: ${error.message}`);
  };
  return { chains: await collect(job.receiver.chains(store, null, { signal: job.signal, onUnreadable })), unreadable };
};

/** Images with backups in the store that are gone from the pools: nobody removes their backups. */
const vanished = ({ images, pools, globs }: SelectedImages, chains: readonly Chain[], fsid: string): string[] => {
  const ids = new Set(images.flatMap(({ look }) => (look.kind === 'seen' ? [look.source.info.id] : [])));
  const gone: string[] = [];
  for (const { source, chains: of } of byImage(chains)) {
    if (source === null || source.fsid !== fsid) continue;
    const spec = source.image;
    const where = pools.find(({ pool }) => samePool(pool, spec));
    if (where === undefined || where.names.has(spec.image) || !isSomebodys(spec.image)) continue;
    const backups = of.flatMap((chain) => chain.backups);
    if (backups.some((backup) => ids.has(backup.source?.identity.imageId ?? ''))) continue;
    if (globs.selects(spec, null))
      gone.push(`${formatImageSpec(spec)} is gone from its pool; its ${backups.length} backups are kept`);
  }
  const left = gone.length - shownVanished;
  return left > 0 ? [...gone.slice(0, shownVanished), `${left} more images are gone; their backups are kept`] : gone;
};
