import { FerryError, toFerryError } from '../errors/ferry-error.js';
import { formatImageSpec, type ImageSpec } from '../model/image-spec.js';
import type { Lease } from '../transfer/lease.js';
import type { ByteSource, CallOptions, CephPort, ParentInfo, Snapshot, TransferCallOptions } from './port.js';

type SnapshotRef = Pick<Snapshot, 'id' | 'name'>;

/** A diff that is to be read, as it was seen before. */
export interface DiffToRead {
  readonly image: ImageSpec;
  readonly imageId: string;
  readonly snap: SnapshotRef;
  /** Null for a full. */
  readonly from: SnapshotRef | null;
  /** What the image reads from beside its own data; null when it is no clone, and then it never becomes one. */
  readonly parent: ParentInfo | null;
}

type LookPort = Pick<CephPort, 'exportDiff' | 'info' | 'infoAt' | 'snapshots'>;

/**
 * The diff as `exportDiff` gives it, ending well only when what was read was there until its last byte. `rbd export-diff` exits with 0 when
 * an image or a snapshot is destroyed while it reads (16.2.15 to 20.2.4): what is gone is read as zeros.
 *
 * A look afterwards is a proof and no mere likelihood: the id of a removed snapshot is never given again, the first step of a removal
 * takes the snapshot off the list, before any of its data goes, and a clone that was flattened does not get a parent back. So whatever is
 * still there was there all the time.
 *
 * @throws SOURCE_CHANGED, and whatever keeps us from looking
 */
export const provenDiff = (ceph: LookPort, diff: DiffToRead, options: TransferCallOptions = {}): ByteSource => ({
  [Symbol.asyncIterator]: () => readProven(ceph, diff, options),
});

async function* readProven(
  ceph: LookPort,
  diff: DiffToRead,
  options: TransferCallOptions,
): AsyncGenerator<Lease, void, undefined> {
  const { image, snap, from, parent } = diff;
  const before = await ancestors(ceph, parent, options);
  yield* ceph.exportDiff(image, { snap: snap.name, fromSnap: from?.name ?? null }, options);
  await checkUnchanged(ceph, diff, before, options);
}

const checkUnchanged = async (
  ceph: LookPort,
  diff: DiffToRead,
  before: readonly ParentInfo[],
  options: CallOptions,
): Promise<void> => {
  const change = await unlessGone(findChange(ceph, diff, before, options));
  if (change === null) return;
  throw new FerryError(
    'SOURCE_CHANGED',
    `${formatImageSpec(diff.image)}@${diff.snap.name} cannot be trusted: ${change}`,
  );
};

/** What is not as it was; null when all is. */
const findChange = async (
  ceph: LookPort,
  { image, imageId, snap, from, parent }: DiffToRead,
  before: readonly ParentInfo[],
  options: CallOptions,
): Promise<string | null> => {
  const [info, snapshots] = await Promise.all([ceph.infoAt(image, snap.name, options), ceph.snapshots(image, options)]);
  if (info.id !== imageId) return `the image with id ${imageId} became one with id ${info.id} while it was read`;
  for (const wanted of from === null ? [snap] : [snap, from]) {
    const now = snapshots.find(({ name }) => name === wanted.name);
    if (now?.id !== wanted.id) return `its snapshot ${wanted.name} was removed while it was read`;
  }
  if (parent === null) return null;
  const after = await ancestors(ceph, info.parent, options);
  return sameImages(before, after) ? null : 'it, or an image that it is a clone of, was flattened while it was read';
};

/** A clone's parent, the parent's parent, and so on. */
const ancestors = async (
  ceph: Pick<CephPort, 'info' | 'infoAt'>,
  parent: ParentInfo | null,
  options: CallOptions,
): Promise<ParentInfo[]> => {
  const found: ParentInfo[] = [];
  for (let next = parent; next !== null; next = await parentOf(ceph, next, options)) found.push(next);
  return found;
};

const parentOf = async (
  ceph: Pick<CephPort, 'info' | 'infoAt'>,
  { pool, namespace, imageId, snap }: ParentInfo,
  options: CallOptions,
): Promise<ParentInfo | null> => {
  const image = { pool, namespace, imageId };
  try {
    return (await ceph.infoAt(image, snap, options)).parent;
  } catch (thrown) {
    if (toFerryError(thrown).code !== 'SNAPSHOT_NOT_FOUND') throw thrown;
    // It was removed and is kept for its clone, under a name of Ceph's own.
    return (await ceph.info(image, options)).parent;
  }
};

/** By id: a parent that is renamed, or whose snapshot is removed while its clone keeps it, still has the same data. */
const sameImages = (before: readonly ParentInfo[], after: readonly ParentInfo[]): boolean =>
  before.length === after.length && before.every(({ imageId }, index) => imageId === after[index]?.imageId);

const gone: ReadonlySet<string> = new Set([
  'IMAGE_NOT_FOUND',
  'SNAPSHOT_NOT_FOUND',
  'POOL_NOT_FOUND',
  'NAMESPACE_NOT_FOUND',
]);

const unlessGone = async (look: Promise<string | null>): Promise<string | null> => {
  try {
    return await look;
  } catch (thrown) {
    const error = toFerryError(thrown);
    if (!gone.has(error.code)) throw error;
    return `it was removed or renamed while it was read (${error.message})`;
  }
};
