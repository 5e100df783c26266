import { estimatedStreamBytes } from '@rbdferry/core/ceph/diff-extents.js';
import type { Snapshot } from '@rbdferry/core/ceph/port.js';
import { provenDiff } from '@rbdferry/core/ceph/proven-diff.js';
import { FerryError, throwIfAborted, toFerryError } from '@rbdferry/core/errors/ferry-error.js';
import type { ErrorCode } from '@rbdferry/core/errors/registry.js';
import {
  chainNameOf,
  formatBackupId,
  formatTimestamp,
  parseBackupId,
  snapNameOf,
  type BackupId,
  type Timestamp,
} from '@rbdferry/core/model/backup-id.js';
import type { Backup, BackupKind, Chain, StreamEnd } from '@rbdferry/core/model/chain.js';
import { formatImageSpec, type ImageSpec } from '@rbdferry/core/model/image-spec.js';
import { oddNameTimes } from '@rbdferry/core/model/name-time.js';
import { planBackup, type BackupMode, type NoBase } from '@rbdferry/core/model/planner.js';
import { PeerLife, RbdLife } from '@rbdferry/core/transfer/life.js';
import { estimateLater } from '@rbdferry/core/transfer/late-estimate.js';
import { startEarly } from '@rbdferry/core/transfer/start-early.js';
import type { JobContext, JobOutcome } from '../jobs/job-context.js';
import type { LooseEndHandle } from '../jobs/loose-ends.js';
import { outgoingWithin } from '../limits.js';
import { factsAt, lookAtBoth, type SourceImage } from './look-at-source.js';
import { followStages } from '../jobs/follow-stages.js';
import { ownSnapshots } from './own-snapshots.js';
import { retire } from './retire.js';
import { isBackupOf, sendDiff } from './send.js';
import type { SnapshotEnd } from './snapshot-end.js';

export interface BackupRequest {
  readonly image: ImageSpec;
  readonly mode: BackupMode;
  readonly store: string;
}

/** What the new backup will be. */
export interface Target {
  readonly time: Timestamp;
  readonly backupId: BackupId;
  readonly base: Backup | null;
}

/** A backup that is planned and written down. */
export interface Begun {
  readonly source: SourceImage;
  readonly chains: readonly Chain[];
  readonly target: Target;
  readonly looseEnd: LooseEndHandle;
  /** Makes its snapshot, or answers the one that was made. @throws what making it failed with */
  readonly snapshot: () => Promise<Snapshot>;
}

/** Plans a backup and writes it down, before anything is made. A batch does this for many images at once, see batch/begin-backups.ts. */
const begin = async (request: BackupRequest, job: JobContext): Promise<Begun> => {
  job.phase('plan');
  const where = { receiver: job.receiver, store: request.store };
  const { source, chains } = await lookAtBoth(job.ceph, request.image, where, job);
  const target = planTarget(request, { source, chains }, { ...job, peerNowMs: job.receiver.now() });
  job.facts(factsOf(target));
  throwIfAborted(job.signal);

  job.phase('snapshot');
  const end = snapshotEndOf(source, target, job.receiver.name);
  const unseen: SnapshotEnd = { ...end, unseenSinceMs: job.now() };
  const looseEnd = job.looseEnd(unseen);
  const snapshot = async (): Promise<Snapshot> => {
    const seen = () => looseEnd.update(end);
    await askForSnapshot(source, target, { ...job, seen });
    return findSnapshot(source, target, { ...job, seen });
  };
  return { source, chains, target, looseEnd, snapshot };
};

/** What a job says of the backup that it is going to make. */
export const factsOf = ({ backupId, base }: Target): { backupId: BackupId; backupKind: BackupKind } => ({
  backupId,
  backupKind: base === null ? 'full' : 'incremental',
});

/** The snapshot of a planned backup, as it is written down once it was seen. */
export const snapshotEndOf = (source: SourceImage, { time, backupId }: Target, receiver: string): SnapshotEnd => ({
  kind: 'snapshot',
  image: formatImageSpec(source.spec),
  imageId: source.info.id,
  snap: snapNameOf(time),
  receiver,
  backupId,
});

/** Backs one image up; the caller holds the image. Look at both sides, plan, snapshot, transfer, retire the old base. */
export const runBackup = async (
  request: BackupRequest,
  begun: (() => Promise<Begun>) | null,
  job: JobContext,
): Promise<JobOutcome> => {
  const { source, chains, target, looseEnd, snapshot: made } = await (begun?.() ?? begin(request, job));
  const sent: { end: StreamEnd | null } = { end: null };
  let committed: Backup;
  try {
    const snapshot = await made();
    committed = await transfer(request, { source, snapshot, target, sent }, job);
    looseEnd.close();
  } catch (thrown) {
    const isOurs = (backup: Backup) => sent.end !== null && isBackupOf(backup, sent.end);
    committed = await recoverOutcome(thrown, { backupId: target.backupId, looseEnd, isOurs }, job);
  }

  job.phase('clean-up');
  const place = { store: request.store, receiver: job.receiver.name, jobs: job.jobs };
  await retire(job.ceph, request.image, ownSnapshots(source.view, chains, place), (warning) => {
    job.warn(warning);
  });
  return { streamBytes: committed.streamBytes };
};

/** What planning tells, and by which clocks it names. */
interface Planning {
  readonly warn: (message: string) => void;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  /** By the receiver's clock. */
  readonly peerNowMs: number;
}

/** @throws NO_CHAIN, NO_COMMON_SNAPSHOT, IMAGE_RECREATED */
export const planTarget = (
  request: BackupRequest,
  { source, chains }: { readonly source: SourceImage; readonly chains: readonly Chain[] },
  planning: Planning,
): Target => {
  const target = targetOf(request, source, chains, planning);
  const odd = oddNameTimes({ snap: snapNameOf(target.time), baseId: target.base?.id ?? null }, planning.peerNowMs);
  for (const text of odd) planning.warn(`the time in the name of ${target.backupId} ${text}`);
  return target;
};

const targetOf = (
  request: BackupRequest,
  source: SourceImage,
  chains: readonly Chain[],
  { warn, now }: Planning,
): Target => {
  const plan = planBackup(request.mode, source.view, chains);
  const time = formatTimestamp(BigInt(now()) * 1000n + ((process.hrtime.bigint() / 1000n) % 1000n));
  switch (plan.kind) {
    case 'refused':
      throw refusal(formatImageSpec(request.image), plan.refusal);
    case 'full': {
      if (plan.because === 'no-common-snapshot' || plan.because === 'image-recreated') {
        warn(`a full backup was made: ${fullBecause[plan.because]}`);
      }
      const chain = chainNameOf(request.image.image, time);
      return { time, base: null, backupId: formatBackupId({ store: request.store, chain, snap: snapNameOf(time) }) };
    }
    case 'incremental': {
      const parts = parseBackupId(plan.base.id);
      if (!parts.ok) throw new FerryError('INVALID_BACKUP_ID', parts.problem);
      return { time, base: plan.base, backupId: formatBackupId({ ...parts.value, snap: snapNameOf(time) }) };
    }
  }
};

const fullBecause = {
  'no-common-snapshot': 'the image has no snapshot of an earlier backup any more',
  'image-recreated': 'the image was removed and made again since its last backup',
};

const refusal = (image: string, refused: NoBase): FerryError => {
  switch (refused.reason) {
    case 'no-chain':
      return new FerryError('NO_CHAIN', `${image} has no backup to build on`);
    case 'no-common-snapshot':
      return new FerryError(
        'NO_COMMON_SNAPSHOT',
        `${image} has no snapshot left of any of its backups (the newest is ${refused.newestBackup})`,
      );
    case 'image-recreated':
      return new FerryError(
        'IMAGE_RECREATED',
        `${image} has image id ${refused.imageId}, its backups are of ${refused.chainImageId}`,
      );
  }
};

/** Errors of `createSnapshot` after which no snapshot comes any more. */
const madeNone: ReadonlySet<ErrorCode> = new Set([
  'IMAGE_NOT_FOUND',
  'POOL_NOT_FOUND',
  'NAMESPACE_NOT_FOUND',
  'SNAPSHOT_EXISTS',
  'CEPH_PERMISSION',
  'CEPH_NOT_INSTALLED',
]);

/** With `seen`, called once nothing is left to be carried out later by whoever has the image open. */
type Snapshotting = Pick<JobContext, 'ceph' | 'signal'> & { readonly seen: () => void };

export const askForSnapshot = async (source: SourceImage, { time }: Target, job: Snapshotting): Promise<void> => {
  try {
    await job.ceph.createSnapshot(source.spec, snapNameOf(time), job);
  } catch (thrown) {
    if (madeNone.has(toFerryError(thrown).code)) job.seen();
    throw thrown;
  }
};

/** The snapshot that was made, with its id. @throws SNAPSHOT_NOT_FOUND */
export const findSnapshot = async (source: SourceImage, { time }: Target, job: Snapshotting): Promise<Snapshot> => {
  const name = snapNameOf(time);
  const snapshot = (await job.ceph.snapshots(source.spec, job)).find((each) => each.name === name);
  job.seen();
  if (snapshot !== undefined) return snapshot;
  throw new FerryError('SNAPSHOT_NOT_FOUND', `the snapshot ${name} of ${formatImageSpec(source.spec)} vanished`);
};

const transfer = async (
  request: BackupRequest,
  made: { source: SourceImage; snapshot: Snapshot; target: Target; sent: { end: StreamEnd | null } },
  job: JobContext,
): Promise<Backup> => {
  const { source, snapshot, target, sent } = made;
  // Its own signal: a stalled export must be ended though the job goes on to clean up.
  const ending = new AbortController();
  const signal = AbortSignal.any([job.signal, ending.signal]);
  const diff = { snap: snapshot.name, fromSnap: target.base?.snap ?? null };
  job.phase('open');
  // It comes up while the receiver prepares its image, and then waits.
  const base = target.base?.snap ?? null;
  const lives = { rbd: new RbdLife('source'), peer: new PeerLife('receiver') };
  const stream = startEarly(
    provenDiff(
      job.ceph,
      {
        image: source.spec,
        imageId: source.info.id,
        snap: snapshot,
        from: source.view.snapshots.find(({ name }) => name === base) ?? null,
        parent: source.info.parent,
      },
      { signal, onAlive: lives.rbd.sign },
    ),
  );
  try {
    const opened = await job.receiver.openPush(
      {
        store: request.store,
        source: factsAt(source, snapshot),
        snap: snapNameOf(target.time),
        baseId: target.base?.id ?? null,
      },
      job,
    );
    if (opened.backupId !== target.backupId) {
      throw new FerryError('INTERNAL', `the receiver would make ${opened.backupId} of ${target.backupId}`);
    }
    job.phase('transfer');
    void estimateLater(
      async (until) => estimatedStreamBytes(await job.ceph.diffExtents(source.spec, diff, { signal: until })),
      (bytes) => {
        job.progress.estimate(Number(bytes));
      },
      signal,
    );
    const stages = job.transfer('sender');
    void followStages(job.receiver, opened.transferId, { stages, lives, signal });
    return await sendDiff(stream, await job.receiver.push(opened.transferId, { signal, stages }), {
      stallMs: job.config.stall_timeout,
      meter: stages.meter,
      lives,
      ...outgoingWithin(job.limits, job.receiver.compression),
      signal,
      onRead: (bytes) => {
        job.progress.add(bytes);
      },
      onSent: (wireBytes) => {
        job.progress.addWire(wireBytes);
      },
      onCommit: (end) => {
        sent.end = end;
        job.phase('commit');
      },
    });
  } finally {
    ending.abort(new FerryError('CANCELLED', 'the transfer has ended'));
    await stream.close();
  }
};

/**
 * After a failure: only the receiver knows whether the backup was committed. When it was, the job succeeded after all; when
 * not, the snapshot is removed. When the receiver cannot be asked, the snapshot stays, written down, until it can.
 */
const recoverOutcome = async (
  thrown: unknown,
  what: {
    readonly backupId: BackupId;
    readonly looseEnd: LooseEndHandle;
    readonly isOurs: (backup: Backup) => boolean;
  },
  job: JobContext,
): Promise<Backup> => {
  const error = toFerryError(thrown);
  job.phase('clean-up');
  try {
    const settled = await what.looseEnd.settle({ accept: what.isOurs });
    if (settled.kind === 'completed' && settled.backup !== null) return settled.backup;
  } catch (cleanUp) {
    const { code, message } = toFerryError(cleanUp);
    job.log.warn({ code, error: message }, 'could not clean up yet; the agent tries again');
    const unknown = `${error.message}; it is not known yet whether the receiver has committed ${what.backupId}: the agent finds out`;
    throw new FerryError(error.code, unknown, { hint: error.hint, cause: thrown });
  }
  throw error;
};
