import type { Snapshot } from '@rbdferry/core/ceph/port.js';
import { throwIfAborted, toFerryError, type FerryError } from '@rbdferry/core/errors/ferry-error.js';
import { atOnce } from '@rbdferry/core/lifecycle/at-once.js';
import type { Chain } from '@rbdferry/core/model/chain.js';
import { formatImageSpec } from '@rbdferry/core/model/image-spec.js';
import type { BackupMode } from '@rbdferry/core/model/planner.js';
import type { BackupJobRequest } from '../backup/backup-jobs.js';
import {
  askForSnapshot,
  factsOf,
  findSnapshot,
  planTarget,
  snapshotEndOf,
  type Begun,
  type Target,
} from '../backup/backup.js';
import type { SourceImage } from '../backup/look-at-source.js';
import type { SnapshotEnd } from '../backup/snapshot-end.js';
import type { ChildJob } from '../jobs/child-jobs.js';
import type { JobContext } from '../jobs/job-context.js';
import type { LooseEndHandle } from '../jobs/loose-ends.js';
import { ChainsOfStore } from './chains-of-store.js';
import type { Selected } from './select-images.js';

/** Snapshots asked for at the same time. */
const snapshotsAtOnce = 16;
/** An image is large in its batch when it may take more than so many times what most take, and more than this. */
const largeRatio = 8;
const largeLeastBytes = 64 * 1024 * 1024;
/** What an increment is taken for as long as nobody knows: a twentieth of its image. */
const unknownShare = 0.05;

interface Work {
  readonly mode: BackupMode;
  readonly store: string;
  readonly child: Omit<BackupJobRequest, 'image'>;
}

/** What the one look at the store found. */
export interface StoreSeen {
  readonly chains: readonly Chain[];
  /** Names of images with a chain that could not be read. */
  readonly unreadable: ReadonlySet<string>;
}

/** A child with what its backup goes on with. */
export type Prepared =
  /** It begins by itself: another job works on its image, or its backups could not be read, which is its own matter. */
  | { readonly kind: 'alone'; readonly child: ChildJob }
  | { readonly kind: 'refused'; readonly child: ChildJob; readonly error: FerryError }
  | {
      readonly kind: 'planned';
      readonly child: ChildJob;
      readonly source: SourceImage;
      readonly chains: readonly Chain[];
      readonly target: Target;
      readonly looseEnd: LooseEndHandle;
      result: { readonly snapshot: Snapshot } | { readonly error: FerryError } | null;
    };

export type Planned = Extract<Prepared, { kind: 'planned' }>;

export const isPlanned = (prepared: Prepared): prepared is Planned => prepared.kind === 'planned';

/** Makes the snapshots of backups that are written down, as close together as Ceph allows, and only then queues them. */
export const beginBackups = async (all: readonly Prepared[], job: JobContext): Promise<void> => {
  try {
    job.phase('snapshot');
    await makeSnapshots(all.filter(isPlanned), job);
  } finally {
    // Whatever happened: who is written down is queued, and ends by itself.
    queueAll(all);
  }
  throwIfAborted(job.signal);
  job.children.start();
};

/** Plans the backups of many images and writes them down, all or none, before anything is made. */
export const writeDown = (
  selected: readonly Selected[],
  work: Work,
  { seen, job }: { readonly seen: StoreSeen; readonly job: JobContext },
): Prepared[] => {
  const all: Prepared[] = [];
  const chains = new ChainsOfStore(work.store, seen.chains);
  const requests = selected.map(({ spec }) => ({ ...work.child, image: formatImageSpec(spec) }));
  job.children.add(requests, (children) => {
    for (const [index, child] of children.entries()) {
      const image = selected[index];
      if (image === undefined) continue;
      const isReadable = !seen.unreadable.has(image.spec.image);
      all.push(isReadable ? prepare(image, child, { chains, work, job }) : { kind: 'alone', child });
    }
  });
  return all;
};

const prepare = (
  { spec, look }: Selected,
  child: ChildJob,
  { chains: store, work, job }: { readonly chains: ChainsOfStore; readonly work: Work; readonly job: JobContext },
): Prepared => {
  if (!child.hold()) return { kind: 'alone', child };
  if (look.kind === 'failed') return { kind: 'refused', child, error: look.error };
  const { source } = look;
  const chains = store.of(source);
  const planning = {
    warn: (text: string) => {
      child.warn(text);
    },
    now: job.now,
    peerNowMs: job.receiver.now(),
  };
  try {
    const target = planTarget({ image: spec, mode: work.mode, store: work.store }, { source, chains }, planning);
    child.facts(factsOf(target));
    const end = snapshotEndOf(source, target, job.receiver.name);
    const unseen: SnapshotEnd = { ...end, unseenSinceMs: job.now() };
    const looseEnd = child.looseEnd(unseen);
    return { kind: 'planned', child, source, chains, target, looseEnd, result: null };
  } catch (thrown) {
    return { kind: 'refused', child, error: toFerryError(thrown) };
  }
};

const makeSnapshots = async (planned: readonly Planned[], job: JobContext): Promise<void> => {
  const begin = performance.now();
  const seen: (() => void)[] = [];
  const see =
    ({ source, target, looseEnd }: Planned) =>
    () => {
      const end = snapshotEndOf(source, target, job.receiver.name);
      seen.push(() => {
        looseEnd.update(end);
      });
    };
  await eachUntilAborted(planned, job, async (each) => {
    await askForSnapshot(each.source, each.target, { ...job, seen: see(each) });
  });
  job.children.spread(Math.round(performance.now() - begin));
  await eachUntilAborted(planned, job, async (each) => {
    if (each.result !== null) return;
    each.result = { snapshot: await findSnapshot(each.source, each.target, { ...job, seen: see(each) }) };
  });
  job.children.together(() => {
    for (const write of seen) write();
  });
};

/** What fails for one is its own matter. */
const eachUntilAborted = (
  planned: readonly Planned[],
  { signal }: JobContext,
  work: (each: Planned) => Promise<void>,
): Promise<void> =>
  atOnce(planned, snapshotsAtOnce, async (each) => {
    if (signal.aborted) return;
    try {
      await work(each);
    } catch (thrown) {
      each.result = { error: toFerryError(thrown) };
    }
  });

/** Large ones first, which leave a slot to the others; else in the order of the selection. */
const queueAll = (all: readonly Prepared[]): void => {
  const large = largeOnes(all.filter(isPlanned));
  const isLarge = (each: Prepared): boolean => large.has(each);
  for (const each of [...all.filter(isLarge), ...all.filter((other) => !isLarge(other))]) {
    each.child.queue(begunOf(each), { isLarge: isLarge(each) });
  }
};

const begunOf = (prepared: Prepared): (() => Promise<Begun>) | null => {
  switch (prepared.kind) {
    case 'alone':
      return null;
    case 'refused':
      return () => Promise.reject(prepared.error);
    case 'planned': {
      const { source, chains, target, looseEnd, result } = prepared;
      // Broken off before it was asked for: it begins anew, once what may have been made is settled.
      if (result === null) return null;
      const snapshot = () => ('error' in result ? Promise.reject(result.error) : Promise.resolve(result.snapshot));
      return () => Promise.resolve({ source, chains, target, looseEnd, snapshot });
    }
  }
};

const largeOnes = (planned: readonly Planned[]): ReadonlySet<Prepared> => {
  const bytes = new Map(planned.map((each) => [each, expectedBytes(each)]));
  const sorted = [...bytes.values()].toSorted((a, b) => a - b);
  const median = sorted[Math.floor(sorted.length / 2)] ?? 0;
  return new Set(planned.filter((each) => (bytes.get(each) ?? 0) > Math.max(median * largeRatio, largeLeastBytes)));
};

/** About what a backup will move. An increment is taken for as large as the one before. */
const expectedBytes = ({ source, target: { base } }: Planned): number => {
  const size = Number(source.info.sizeBytes);
  if (base === null) return size;
  return base.kind === 'incremental' && base.streamBytes > 0n ? Number(base.streamBytes) : size * unknownShare;
};
