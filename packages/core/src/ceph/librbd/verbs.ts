import type { ImageSpec, PoolSpec } from '../../model/image-spec.js';
import type { DiffExtents, ImageListing } from '../port.js';
import type { Connection } from './connection.js';
import { maxCalls, type ImageHandle, type IoHandle } from './native.js';
import { calling, isMissing } from './native-failure.js';
import { iterate, type Progress } from './iterate-diff.js';
import type { LookAnswer, LookAsk, Verb, Verbs } from './protocol.js';
import {
  hidesSnapshots,
  idByName,
  mayBeSetInHeader,
  metadataById,
  removeInHeader,
  setInHeader,
  snapshotsById,
} from './header.js';
import { idOf, infoOf, readList, snapshotsOf, watchersOf } from './read-image.js';

type Handlers = {
  readonly [V in Verb]: (
    connection: Connection,
    ask: Verbs[V]['ask'],
    progress: Progress,
  ) => Promise<Verbs[V]['answer']>;
};

/** Image-meta of rbdferry's own, which nobody else reads. */
const ownPrefix = 'rbdferry.';
/** RBD_TRASH_IMAGE_SOURCE_USER and _USER_PARENT: the others are Ceph's own. */
const trashedByUser: readonly number[] = [0, 4];
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
      await allEnded(Array.from({ length: listLanes }, lane));
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

  hidesSnapshots: (connection, image) =>
    connection.inPool(image, async (io) => {
      const id = await ifThere(idByName(connection, io, image.image));
      return (id === null ? null : await ifThere(hidesSnapshots(connection, io, id))) ?? true;
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

  setMetadata: async (connection, { image, key, value }) => {
    const inHeader = await ownInHeader(connection, { image, key }, (io, imageId) =>
      setInHeader(connection, io, { imageId, key, value }),
    );
    if (inHeader) return null;
    return connection.withImage(image, { write: true }, async (opened) => {
      await calling('call', connection.native.rbd_metadata_set, opened, key, Buffer.from(`${value}\0`));
      return null;
    });
  },

  removeMetadata: async (connection, { image, key }) => {
    let wasThere = true;
    const inHeader = await ownInHeader(connection, { image, key }, async (io, imageId) => {
      wasThere = await unlessAbsent(removeInHeader(connection, io, { imageId, key }));
    });
    if (inHeader) return wasThere;
    return connection.withImage(image, { write: true }, (opened) =>
      unlessAbsent(calling('call', connection.native.rbd_metadata_remove, opened, key)),
    );
  },

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

/** Changes image-meta of ours in the header itself where that may be, and answers whether it was done. */
const ownInHeader = async (
  connection: Connection,
  { image, key }: { readonly image: ImageSpec; readonly key: string },
  use: (io: IoHandle, imageId: string) => Promise<void>,
): Promise<boolean> => {
  if (!key.startsWith(ownPrefix)) return false;
  return connection.inPool(image, async (io) => {
    const id = await ifThere(idByName(connection, io, image.image));
    if (id === null || (await ifThere(mayBeSetInHeader(connection, io, id))) !== true) return false;
    await use(io, id);
    return true;
  });
};

/** Null for what is missing, or cannot be read without librbd. */
const ifThere = async <T>(call: Promise<T>): Promise<T | null> => {
  try {
    return await call;
  } catch (thrown) {
    if (mustBeOpened(thrown)) return null;
    throw thrown;
  }
};

/** Waits for every one before it throws for any: what they all use is closed after this, and a thread that used it still would end the helper. */
const allEnded = async (steps: readonly Promise<void>[]): Promise<void> => {
  const failed = (await Promise.allSettled(steps)).find((step) => step.status === 'rejected');
  if (failed !== undefined) throw failed.reason;
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
      return {
        ...(wanted.includes('snapshots') && { snapshots: await snapshotsById(connection, io, id) }),
        ...(wanted.includes('metadata') && { metadata: await metadataById(connection, io, id) }),
      };
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
