import { randomUUID } from 'node:crypto';
import type { ByteSink } from '@rbdferry/core/ceph/port.js';
import { ifExists } from '@rbdferry/core/ceph/if-exists.js';
import { layoutDifference } from '@rbdferry/core/ceph/layout-difference.js';
import { DiffError } from '@rbdferry/core/diff/diff-error.js';
import { FerryError, throwIfAborted, toFerryError } from '@rbdferry/core/errors/ferry-error.js';
import type { BackupId } from '@rbdferry/core/model/backup-id.js';
import type { Backup, Layout, StreamEnd } from '@rbdferry/core/model/chain.js';
import { formatImageSpec, type ImageSpec } from '@rbdferry/core/model/image-spec.js';
import { endRecord, IncomingStream } from '@rbdferry/core/transfer/incoming-stream.js';
import { paced } from '@rbdferry/core/transfer/paced.js';
import { wireBytesOf } from '@rbdferry/core/transfer/piece.js';
import { PeerLife, RbdLife, type Lives } from '@rbdferry/core/transfer/life.js';
import { unlessAborted, watchStall, withinStallTime } from '@rbdferry/core/transfer/stall.js';
import { expectedDiff, streamError } from '@rbdferry/core/transfer/stream-check.js';
import { followStages } from '../jobs/follow-stages.js';
import type { JobContext, JobOutcome } from '../jobs/job-context.js';
import type { Settled } from '../jobs/loose-end-kind.js';
import type { LooseEndHandle } from '../jobs/loose-ends.js';
import { dress, type Whole } from './dress.js';
import type { RestoreEnd } from './restore-end.js';
import { checkTarget, layoutFor, refuseProtected, targetOf, temporaryName } from './target.js';

export interface RestoreRequest {
  readonly backupId: BackupId;
  readonly to: ImageSpec | null;
  readonly replace: boolean;
}

/**
 * Restores one backup; the caller holds the target. Everything goes into a temporary image; the target is touched last,
 * when the new image is whole, and what it replaces goes to the trash.
 */
export const runRestore = async (request: RestoreRequest, job: JobContext): Promise<JobOutcome> => {
  job.phase('plan');
  const backup = await job.receiver.backup(request.backupId, job);
  const target = targetOf(backup, request.to);
  job.facts({ backupId: backup.id, backupKind: backup.kind, image: formatImageSpec(target) });
  await job.hold(formatImageSpec(target));
  await checkTarget(target, request.replace, job);
  throwIfAborted(job.signal);

  const temporary = temporaryName(target, backup, job.now());
  const end: RestoreEnd = {
    kind: 'restore',
    temporary: formatImageSpec(temporary),
    target: formatImageSpec(target),
    stage: 'import',
    imageId: null,
  };
  const looseEnd = job.looseEnd(end);
  let streamBytes = 0n;
  try {
    const imported = await importInto(temporary, backup, job);
    const { imageId } = imported;
    ({ streamBytes } = imported);
    job.phase('verify');
    const whole = await verify(temporary, { backup, imageId }, job);
    await dress(temporary, backup, whole, job);
    throwIfAborted(job.signal);
    job.phase('swap');
    await swap({ temporary, target, replace: request.replace, imageId: whole.info.id }, looseEnd, job);
    looseEnd.close();
    return { streamBytes };
  } catch (thrown) {
    // A rename that gave no answer may have been carried out: then the image is there, and the job is done.
    if ((await cleanUp(looseEnd, job)) !== 'completed') throw thrown;
    job.warn(`the image has its name, though that could not be seen at once: ${toFerryError(thrown).message}`);
    return { streamBytes };
  }
};

/** Answers bytes of the stream, and which image they went into. */
const importInto = async (
  temporary: ImageSpec,
  backup: Backup,
  job: JobContext,
): Promise<{ streamBytes: bigint; imageId: string }> => {
  const layout = await layoutFor(temporary, backup, job);
  const prepared = prepareRemovals(temporary, job);
  await job.ceph.create(temporary, layout, job);
  await prepared;
  const info = await job.ceph.info(temporary, job);
  const difference = layoutDifference(info, layout);
  if (difference !== null) job.warn(`the restored image has another layout than the backup says: ${difference}`);
  job.phase('transfer');
  const ending = new AbortController();
  const signal = AbortSignal.any([job.signal, ending.signal]);
  // Not the job's signal: the sink is ended by its own abort, which closes the input and leaves no lock.
  const lives = { rbd: new RbdLife('production'), peer: new PeerLife('receiver') };
  const sink = job.ceph.importDiff(temporary, { onAlive: lives.rbd.sign });
  try {
    return { streamBytes: await receive(backup, layout, sink, { ...job, signal, lives }), imageId: info.id };
  } catch (thrown) {
    await sink.abort();
    throw thrown instanceof DiffError ? streamError(thrown) : thrown;
  } finally {
    ending.abort(new FerryError('CANCELLED', 'the transfer has ended'));
  }
};

/** Should the pool become full, the temporary image must still be removable. Never rejects. */
const prepareRemovals = async (temporary: ImageSpec, { ceph, signal, log }: JobContext): Promise<void> => {
  try {
    await ceph.prepareRemovals(temporary, { signal });
  } catch (thrown) {
    log.warn({ error: toFerryError(thrown).message }, 'could not make the trash; a full pool may refuse removals');
  }
};

const receive = async (
  backup: Backup,
  layout: Layout,
  sink: ByteSink,
  job: Pick<JobContext, 'receiver' | 'signal' | 'config' | 'progress' | 'transfer' | 'limits'> & {
    readonly lives: Lives;
  },
): Promise<bigint> => {
  const stallMs = job.config.stall_timeout;
  const incoming = new IncomingStream(expectedDiff(layout, { snap: backup.snap, fromSnap: null }));
  let trailer: StreamEnd | undefined;
  const told = {
    onTrailer: (commit: StreamEnd) => {
      trailer = commit;
    },
    onEstimate: (bytes: bigint) => {
      job.progress.estimate(Number(bytes));
    },
  };
  const { receiver, signal, limits, lives } = job;
  const stages = job.transfer('taker');
  const { meter } = stages;
  const transferId = randomUUID();
  void followStages(receiver, transferId, { stages, lives, signal });
  const pulled = receiver.pull(backup.id, told, { signal, stages, transferId, limits });
  // A target that takes nothing must not keep a job from being cancelled.
  const taken = (step: Promise<void>, what: string) =>
    meter.leaving(unlessAborted(withinStallTime(step, { ms: stallMs, what, life: lives.rbd }), signal));
  const stream = watchStall(pulled, { ms: stallMs, what: 'the receiver sent no data', life: lives.peer });
  // What comes is paced as well: the receiver was told the job's limit, but not what other jobs take, nor the time of day.
  for await (const piece of paced(meter.arriving(stream), limits.buckets, { signal, meter })) {
    const { bytes } = piece.content;
    const before = incoming.coveredBytes;
    await incoming.pass(bytes, (body) => taken(sink.write(body), 'rbd import-diff took no data'));
    meter.passed(bytes.length);
    job.progress.addWire(wireBytesOf(piece));
    // A diff without a beginning has no zero extents but those that the receiver made of zeros.
    job.progress.add(Number(incoming.coveredBytes - before));
    piece.content.release();
  }
  const { streamBytes } = incoming.finish(trailer);
  // Only now may import-diff make the snapshot: a restored image has it if and only if it is whole.
  await taken(sink.write(endRecord), 'rbd import-diff took no data');
  await taken(sink.finish(), 'rbd import-diff did not end');
  return streamBytes;
};

/** Looks at the temporary image with Ceph's own eyes. @throws VERIFY_FAILED */
const verify = async (
  temporary: ImageSpec,
  { backup, imageId }: { backup: Backup; imageId: string },
  job: JobContext,
): Promise<Whole> => {
  const [info, snapshots] = await Promise.all([job.ceph.info(temporary, job), job.ceph.snapshots(temporary, job)]);
  const snapshot = snapshots.find((each) => each.name === backup.snap);
  const size = backup.sizeBytes;
  if (info.id !== imageId) {
    throw new FerryError(
      'VERIFY_FAILED',
      `${formatImageSpec(temporary)} has id ${info.id}, what was restored went into one with id ${imageId}`,
    );
  }
  if (snapshot !== undefined && snapshot.sizeBytes === size && info.sizeBytes === size) return { info, snapshot };
  throw new FerryError(
    'VERIFY_FAILED',
    `the restored image has ${info.sizeBytes} bytes and ${snapshot === undefined ? 'no' : 'its'} snapshot; expected ${size} bytes and ${backup.snap}`,
  );
};

/**
 * If we die here: before `swap` is written down the temporary image is removed; after it, the target is the old image (and
 * the temporary one is removed), or missing (and the temporary one takes its name), or the new image.
 */
const swap = async (
  what: { temporary: ImageSpec; target: ImageSpec; replace: boolean; imageId: string },
  looseEnd: LooseEndHandle,
  job: JobContext,
): Promise<void> => {
  const { temporary, target, imageId } = what;
  const end: RestoreEnd = {
    kind: 'restore',
    temporary: formatImageSpec(temporary),
    target: formatImageSpec(target),
    stage: 'swap',
    imageId,
  };
  looseEnd.update(end);
  const old = what.replace ? await ifExists(job.ceph.info(target, job)) : null;
  if (old !== null) {
    refuseProtected(target, old);
    // Refuses an image that is in use.
    await job.ceph.moveToTrash(target, new Date(job.now() + job.config.trash_expiry));
    job.warn(`the image that was there is in the trash as ${old.id}; \`rbd trash restore\` brings it back`);
  }
  try {
    await job.ceph.rename(temporary, target);
  } catch (thrown) {
    if (old !== null) await putBack(old.id, target, job);
    throw thrown;
  }
  const now = await job.ceph.info(target);
  if (now.id === imageId) return;
  throw new FerryError(
    'VERIFY_FAILED',
    `${formatImageSpec(target)} has id ${now.id}, not ${imageId}: somebody renamed images meanwhile`,
  );
};

const putBack = async (oldId: string, target: ImageSpec, job: JobContext): Promise<void> => {
  try {
    await job.ceph.restoreFromTrash(oldId, target);
  } catch (thrown) {
    job.log.error(
      { image: formatImageSpec(target), id: oldId, error: toFerryError(thrown).message },
      'could not bring the old image back from the trash',
    );
  }
};

/** Answers how it came out; null while that is not known. */
const cleanUp = async (looseEnd: LooseEndHandle, job: JobContext): Promise<Settled['kind'] | null> => {
  job.phase('clean-up');
  try {
    return (await looseEnd.settle()).kind;
  } catch (thrown) {
    job.log.warn({ error: toFerryError(thrown).message }, 'could not clean up yet; the agent tries again');
    return null;
  }
};
