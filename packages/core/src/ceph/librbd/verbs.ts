import type { ImageSpec, PoolSpec } from '../../model/image-spec.js';
import type { DiffExtents, ImageListing } from '../port.js';
import type { Connection } from './connection.js';
import { maxCalls, type ImageHandle, type IoHandle } from './native.js';
import { calling, isMissing, knowing, NativeError } from './native-failure.js';
import type { LookAnswer, LookAsk, Verb, Verbs } from './protocol.js';
import { idByName, metadataById, snapshotsById } from './header.js';
import { idOf, infoOf, readList, snapshotsOf, watchersOf } from './read-image.js';

/** What a long verb tells and hears while it works. */
export interface Progress {
  readonly onAlive: () => void;
  readonly signal: AbortSignal;
}

type Handlers = {
  readonly [V in Verb]: (
    connection: Connection,
    ask: Verbs[V]['ask'],
    progress: Progress,
  ) => Promise<Verbs[V]['answer']>;
};

/** RBD_TRASH_IMAGE_SOURCE_USER and _USER_PARENT: the others are Ceph's own. */
const trashedByUser: readonly number[] = [0, 4];
/** A part of an image's comparison between two signs of life: about a second of it. */
const diffStepBytes = 128n * 1024n ** 3n;
const ecanceled = 125;
/** Images of one pool that are open at once. */
const listLanes = Math.floor(maxCalls / 3);

export const handlers: Handlers = {
  look: async (connection, ask) =>
    (await lookUnopened(connection, ask)) ??
    connection.withImage(ask.image, ask, (image, io) => lookAt(connection, { image, io }, ask)),

  list: (connection, where) => connection.inPool(where, (io) => namesIn(connection, io, where)),

  listLong: (connection, where, { onAlive }) =>
    connection.inPool(where, async (io) => {
      const names = await namesIn(connection, io, where);
      const listed: (ImageListing | null)[] = names.map(() => null);
      let next = 0;
      const lane = async (): Promise<void> => {
        for (let at = next++; at < names.length; at = next++) {
          listed[at] = await listingOf(connection, io, { ...where, image: names[at] ?? '' });
          onAlive();
        }
      };
      await Promise.all(Array.from({ length: listLanes }, lane));
      return listed.filter((each) => each !== null);
    }),

  metadataEntries: (connection, { imageId, ...where }) =>
    connection.inPool(where, (io) => metadataById(connection, io, imageId)),

  trashList: (connection, where) =>
    connection.inPool(where, async (io) => {
      const { native } = connection;
      await connection.requireNamespace(io, where.namespace);
      return readList(
        40,
        (room, max) => calling('pool', native.rbd_trash_list, io, room, max),
        (room, count) => {
          const entries = Array.from({ length: count }, (_, index) => ({
            id: native.textAt(room.readBigUInt64LE(index * 40)),
            name: native.textAt(room.readBigUInt64LE(index * 40 + 8)),
            source: room.readInt32LE(index * 40 + 16),
          }));
          native.rbd_trash_list_cleanup(room, count);
          return entries.flatMap(({ id, name, source }) => (trashedByUser.includes(source) ? [{ id, name }] : []));
        },
      );
    }),

  headMayDiffer: (connection, { image: ref, snap }, progress) =>
    connection.withImage(ref, {}, async (image) => {
      const found = await iterate(connection, image, {
        fromSnap: snap,
        whole: true,
        ...progress,
        onExtent: () => false,
      });
      return found === 'ended-early';
    }),

  diffExtents: (connection, { image: ref, range: { snap, fromSnap } }, progress) =>
    connection.withImage(ref, { snap }, async (image) => {
      const sum = { dataBytes: 0n, zeroBytes: 0n, extents: 0 };
      const onExtent = (length: number, exists: boolean): boolean => {
        sum.extents += 1;
        if (exists) sum.dataBytes += BigInt(length);
        else sum.zeroBytes += BigInt(length);
        return true;
      };
      await iterate(connection, image, { fromSnap, whole: false, ...progress, onExtent });
      return sum satisfies DiffExtents;
    }),

  createSnapshot: (connection, { image: ref, snap }) =>
    connection.withImage(ref, { write: true }, async (image) => {
      await calling('call', connection.native.rbd_snap_create, image, snap);
      return null;
    }),

  removeSnapshot: (connection, { image: ref, snap }) =>
    connection.withImage(ref, { write: true, frees: true }, (image) =>
      unlessAbsent(calling('call', connection.native.rbd_snap_remove, image, snap)),
    ),

  setMetadata: (connection, { image: ref, key, value }) =>
    connection.withImage(ref, { write: true }, async (image) => {
      await calling('call', connection.native.rbd_metadata_set, image, key, Buffer.from(`${value}\0`));
      return null;
    }),

  removeMetadata: (connection, { image: ref, key }) =>
    connection.withImage(ref, { write: true }, (image) =>
      unlessAbsent(calling('call', connection.native.rbd_metadata_remove, image, key)),
    ),

  rename: (connection, { from, to }) =>
    connection.inPool(from, async (io) => {
      await calling('image', connection.native.rbd_rename, io, from.image, to);
      return null;
    }),

  trashMove: (connection, { image, delaySeconds }) =>
    connection.inPool(image, async (io) => {
      await calling('image', connection.native.rbd_trash_move, io, image.image, delaySeconds);
      return null;
    }),

  trashRestore: (connection, { imageId, to }) =>
    connection.inPool(to, async (io) => {
      await calling('image', connection.native.rbd_trash_restore, io, imageId, to.image);
      return null;
    }),

  blocklist: async (connection, { address, seconds }) => {
    await connection.blocklist(address, seconds);
    return null;
  },
};

/** Answers false when what the call was about is not there. */
const unlessAbsent = async (call: Promise<unknown>): Promise<boolean> => {
  try {
    await call;
    return true;
  } catch (thrown) {
    if (isMissing(thrown)) return false;
    throw thrown;
  }
};

const inHeader: readonly string[] = ['snapshots', 'metadata'];

/** What the header tells without opening the image; null when more is wanted, or when there is no such image of format 2. */
const lookUnopened = async (connection: Connection, { image, wanted }: LookAsk): Promise<LookAnswer | null> => {
  if (!wanted.every((each) => inHeader.includes(each))) return null;
  try {
    return await connection.inPool(image, async (io) => {
      const id = 'imageId' in image ? image.imageId : await idByName(connection, io, image.image);
      const [snapshots, metadata] = await Promise.all([
        wanted.includes('snapshots') ? snapshotsById(connection, io, id) : undefined,
        wanted.includes('metadata') ? metadataById(connection, io, id) : undefined,
      ]);
      return { ...(snapshots !== undefined && { snapshots }), ...(metadata !== undefined && { metadata }) };
    });
  } catch (thrown) {
    if (mustBeOpened(thrown)) return null;
    throw thrown;
  }
};

const lookAt = async (
  connection: Connection,
  { image, io }: { image: ImageHandle; io: IoHandle },
  { wanted, image: where }: Pick<LookAsk, 'wanted' | 'image'>,
): Promise<LookAnswer> => ({
  ...(wanted.includes('info') && { info: await infoOf(connection, image, io, where) }),
  ...(wanted.includes('snapshots') && { snapshots: await snapshotsOf(connection, image) }),
  ...(wanted.includes('metadata') && { metadata: await metadataById(connection, io, idOf(connection, image)) }),
  ...(wanted.includes('watchers') && { watchers: await watchersOf(connection, image) }),
});

const namesIn = async (connection: Connection, io: IoHandle, { namespace }: PoolSpec): Promise<string[]> => {
  const { native } = connection;
  await connection.requireNamespace(io, namespace);
  return readList(
    16,
    (room, max) => calling('pool', native.rbd_list2, io, room, max),
    (room, count) => {
      const names = Array.from({ length: count }, (_, at) => native.textAt(room.readBigUInt64LE(at * 16 + 8)));
      native.rbd_image_spec_list_cleanup(room, count);
      return names;
    },
  );
};

/** Null for one that vanished meanwhile, or whose removal was broken off: by its name it cannot be found any more. */
const listingOf = async (connection: Connection, io: IoHandle, image: ImageSpec): Promise<ImageListing | null> => {
  const name = image.image;
  try {
    const id = await idByName(connection, io, name);
    return { name, id, snapshots: await snapshotsById(connection, io, id) };
  } catch (thrown) {
    if (!mustBeOpened(thrown)) throw thrown;
  }
  return openedListing(connection, image);
};

/** An image of format 1 has another header; and what another release encodes otherwise, librbd can decode. */
const mustBeOpened = (thrown: unknown): boolean => isMissing(thrown) || thrown instanceof RangeError;

const openedListing = async (connection: Connection, image: ImageSpec): Promise<ImageListing | null> => {
  try {
    return await connection.withImage(image, {}, async (handle) => ({
      name: image.image,
      id: idOf(connection, handle),
      snapshots: await snapshotsOf(connection, handle),
    }));
  } catch (thrown) {
    if (isMissing(thrown)) return null;
    throw thrown;
  }
};

interface Iteration extends Progress {
  readonly fromSnap: string | null;
  /** Whether objects count as a whole. */
  readonly whole: boolean;
  /** Answers whether to go on. */
  readonly onExtent: (length: number, exists: boolean) => boolean;
}

/** Compares an image as it is open with a snapshot, or with nothing, in steps. */
const iterate = async (
  { native }: Connection,
  image: ImageHandle,
  { fromSnap, whole, onExtent, onAlive, signal }: Iteration,
): Promise<'ended' | 'ended-early'> => {
  const stat = Buffer.alloc(160);
  knowing('image', native.rbd_stat, image, stat, stat.length);
  const size = stat.readBigUInt64LE(0);
  let isEnough = false;
  const found = (_: number | bigint, length: number, exists: number): number => {
    isEnough ||= !onExtent(length, exists !== 0);
    return isEnough ? -ecanceled : 0;
  };
  // An image of no size is asked as well, so that a snapshot that is not there is told.
  for (let at = 0n; at === 0n || at < size; at += diffStepBytes) {
    if (signal.aborted) throw new NativeError({ errno: ecanceled, at: 'call', call: 'rbd_diff_iterate2' });
    const length = size - at < diffStepBytes ? size - at : diffStepBytes;
    try {
      await calling('snapshot', native.rbd_diff_iterate2, image, fromSnap, at, length, 1, whole ? 1 : 0, found, null);
    } catch (thrown) {
      if (isEnough) return 'ended-early';
      throw thrown;
    }
    onAlive();
  }
  return 'ended';
};
