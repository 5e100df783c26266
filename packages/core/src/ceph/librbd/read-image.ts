import { formatPoolSpec, type PoolSpec } from '../../model/image-spec.js';
import type { ImageInfo, ParentInfo, Snapshot } from '../port.js';
import { textIn, type Connection } from './connection.js';
import type { ImageHandle, InOut, IoHandle, Native } from './native.js';
import { calling, isMissing, knowing, NativeError } from './native-failure.js';

/** What can be learnt of an open image. Structures are read by the offsets of their fields, the same on every 64-bit Linux. */

const erange = 34;
const featureNames = [
  'layering',
  'striping',
  'exclusive-lock',
  'object-map',
  'fast-diff',
  'deep-flatten',
  'journaling',
  'data-pool',
  'operations',
  'migrating',
  'non-primary',
  'dirty-cache',
];
/** RBD_OPERATION_FEATURE_CLONE_PARENT */
const cloneParent = 1n;
/** RBD_MIRROR_IMAGE_DISABLED */
const mirroringDisabled = 2;
/** RBD_SNAP_NAMESPACE_TYPE_USER */
const userSnapshot = 0;

/** Empty for an image of format 1, which has none. */
export const idOf = ({ native }: Connection, image: ImageHandle): string => {
  if (formatOf(native, image) === 1) return '';
  const id = Buffer.alloc(256);
  knowing('image', native.rbd_get_id, image, id, id.length);
  return textIn(id);
};

const formatOf = (native: Native, image: ImageHandle): 1 | 2 => {
  const isOld = Buffer.alloc(1);
  knowing('image', native.rbd_get_old_format, image, isOld);
  return isOld[0] === 1 ? 1 : 2;
};

export const infoOf = async (
  connection: Connection,
  image: ImageHandle,
  io: IoHandle,
  where: PoolSpec,
): Promise<ImageInfo> => {
  const { native } = connection;
  const stat = Buffer.alloc(160);
  knowing('image', native.rbd_stat, image, stat, stat.length);
  const name = Buffer.alloc(4096);
  knowing('image', native.rbd_get_name, image, name, [name.length]);
  const number = (read: typeof native.rbd_get_features): bigint => {
    const out: [number | bigint] = [0];
    knowing('image', read, image, out);
    return BigInt(out[0]);
  };
  const features = number(native.rbd_get_features);
  const dataPool = BigInt(native.rbd_get_data_pool_id(image));
  return {
    id: idOf(connection, image),
    format: formatOf(native, image),
    name: textIn(name),
    sizeBytes: stat.readBigUInt64LE(0),
    objectSizeBytes: Number(stat.readBigUInt64LE(8)),
    stripeUnitBytes: Number(number(native.rbd_get_stripe_unit)),
    stripeCount: Number(number(native.rbd_get_stripe_count)),
    features: featureNames.filter((_, bit) => (features >> BigInt(bit)) & 1n).toSorted(),
    dataPool: dataPool === BigInt(native.rados_ioctx_get_id(io)) ? null : connection.poolName(dataPool),
    parent: parentOf(connection, image),
    hasClones: (number(native.rbd_get_op_features) & cloneParent) !== 0n,
    group: await groupOf(connection, image, where),
    mirroring: await mirroringOf(connection, image),
  };
};

const parentOf = ({ native }: Connection, image: ImageHandle): ParentInfo | null => {
  const [parent, snap] = [Buffer.alloc(48), Buffer.alloc(24)];
  try {
    knowing('image', native.rbd_get_parent, image, parent, snap);
  } catch (thrown) {
    if (isMissing(thrown)) return null;
    throw thrown;
  }
  const text = (from: Buffer, at: number): string => native.textAt(from.readBigUInt64LE(at));
  const info = {
    pool: text(parent, 8),
    namespace: text(parent, 16),
    imageId: text(parent, 24),
    image: text(parent, 32),
    snap: text(snap, 16),
  };
  native.rbd_linked_image_spec_cleanup(parent);
  native.rbd_snap_spec_cleanup(snap);
  return info;
};

const groupOf = async (connection: Connection, image: ImageHandle, { namespace }: PoolSpec): Promise<string | null> => {
  const { native } = connection;
  const group = Buffer.alloc(16);
  await calling('image', native.rbd_get_group, image, group, group.length);
  const [name, pool] = [native.textAt(group.readBigUInt64LE(0)), group.readBigInt64LE(8)];
  native.rbd_group_info_cleanup(group, group.length);
  return name === '' ? null : `${formatPoolSpec({ pool: connection.poolName(pool), namespace })}/${name}`;
};

const mirroringOf = async ({ native }: Connection, image: ImageHandle): Promise<ImageInfo['mirroring']> => {
  const info = Buffer.alloc(16);
  await calling('image', native.rbd_mirror_image_get_info, image, info, info.length);
  const state = info.readInt32LE(8);
  const primary = info[12] !== 0;
  native.rbd_mirror_image_get_info_cleanup(info);
  return state === mirroringDisabled ? null : { primary };
};

/** Reads a list of structures whose number is not known before: as many as there is room for, or how many there are. */
export const readList = async <T>(
  structBytes: number,
  read: (room: Buffer, max: InOut) => Promise<number>,
  use: (room: Buffer, count: number, answered: number) => T,
): Promise<T> => {
  for (let room = 64; ;) {
    const max: InOut = [room];
    const bytes = Buffer.alloc(room * structBytes);
    try {
      const answered = await read(bytes, max);
      return use(bytes, max[0], answered);
    } catch (thrown) {
      if (!(thrown instanceof NativeError) || thrown.failure.errno !== erange) throw thrown;
      // What it asks for may have grown until the next call.
      room = Math.max(max[0], room) + 64;
    }
  }
};

export const snapshotsOf = ({ native }: Connection, image: ImageHandle): Promise<Snapshot[]> =>
  readList(
    24,
    (room, max) => calling('image', native.rbd_snap_list, image, room, max),
    (room, _, count) => {
      const found: Snapshot[] = [];
      for (let at = 0; at < count * 24; at += 24) {
        const id = room.readBigUInt64LE(at);
        const type: InOut = [0];
        // Gone since it was listed, perhaps.
        if (native.rbd_snap_get_namespace_type(image, id, type) < 0 || type[0] !== userSnapshot) continue;
        const name = native.textAt(room.readBigUInt64LE(at + 16));
        const isProtected: InOut = [0];
        knowing('image', native.rbd_snap_is_protected, image, name, isProtected);
        found.push({ id: Number(id), name, sizeBytes: room.readBigUInt64LE(at + 8), protected: isProtected[0] === 1 });
      }
      if (count > 0) native.rbd_snap_list_end(room);
      return found.toSorted((a, b) => a.id - b.id);
    },
  );

export const watchersOf = ({ native }: Connection, image: ImageHandle): Promise<string[]> =>
  readList(
    24,
    (room, max) => calling('image', native.rbd_watchers_list, image, room, max),
    (room, count) => {
      const addresses = Array.from({ length: count }, (_, at) => native.textAt(room.readBigUInt64LE(at * 24)));
      native.rbd_watchers_list_cleanup(room, count);
      return addresses;
    },
  );
