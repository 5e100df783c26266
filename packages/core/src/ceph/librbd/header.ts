import type { Snapshot } from '../port.js';
import type { Connection } from './connection.js';
import {
  decodeFeatures,
  encodeFeaturesAsk,
  encodePair,
  encodeText,
  decodePairs,
  decodeSnapshot,
  decodeSnapshotIds,
  decodeText,
  encodeId,
  encodeMetadataAsk,
} from './encoding.js';
import type { IoHandle, Native } from './native.js';
import { calling, NativeError } from './native-failure.js';
import type { Pair } from './protocol.js';

/**
 * What an image's header object tells and takes without the image being opened, by the class methods that librbd calls itself (`src/cls/rbd` in Ceph).
 * Opening asks a dozen questions, one after the other; a list of thousands of images needs three.
 */

const erange = 34;
const eio = 5;
const metadataPage = 64;
const firstPageBytes = 256 * 1024;
/** Far above what 64 keys of an image hold; a bound, not a limit anybody should meet. */
const mostPageBytes = 256 * 1024 * 1024;
/** Snapshots that are asked for together. */
const snapshotPage = 100;
/** Room for a name of 4 KiB and what stands beside it. */
const snapshotBytes = 8 * 1024;
const idBytes = 4 * 1024;
const firstIdsBytes = 4 * 1024;
/** RBD_PROTECTION_STATUS_PROTECTED */
const isProtected = 2;
const nothing = Buffer.alloc(0);

const headerOf = (imageId: string): string => `rbd_header.${imageId}`;

/** The id of an image of format 2. @throws NativeError at the image when there is none of this name */
export const idByName = async ({ native }: Connection, io: IoHandle, name: string): Promise<string> =>
  decodeText(await execute(native, io, { object: `rbd_id.${name}`, method: 'get_id', ask: nothing, room: idBytes }));

/** User snapshots, oldest first, of an image of format 2. */
export const snapshotsById = async (connection: Connection, io: IoHandle, imageId: string): Promise<Snapshot[]> =>
  (await everySnapshot(connection, io, imageId)).flatMap((snapshot) => snapshot ?? []).toSorted((a, b) => a.id - b.id);

/** Whether an image of format 2 has snapshots that are not its user's: of a group or a mirror, or removed ones that have a clone. */
export const hidesSnapshots = async (connection: Connection, io: IoHandle, imageId: string): Promise<boolean> =>
  (await everySnapshot(connection, io, imageId)).includes(null);

/** Null for each that is not its user's. */
const everySnapshot = async (connection: Connection, io: IoHandle, imageId: string): Promise<(Snapshot | null)[]> => {
  const object = headerOf(imageId);
  const method = 'get_snapcontext';
  const context = await execute(connection.native, io, { object, method, ask: nothing, room: firstIdsBytes });
  const ids = decodeSnapshotIds(context);
  const found: (Snapshot | null)[] = [];
  for (let at = 0; at < ids.length; at += snapshotPage) {
    found.push(...(await snapshotPageOf(connection, io, { object, ids: ids.slice(at, at + snapshotPage) })));
  }
  return found;
};

/** One that was removed meanwhile fails them all: then they are looked at in another way. */
const snapshotPageOf = async (
  { native }: Connection,
  io: IoHandle,
  { object, ids }: { readonly object: string; readonly ids: readonly bigint[] },
): Promise<(Snapshot | null)[]> => {
  const asked = ids.map((id) => ({
    info: new Step('snapshot_get', encodeId(id), snapshotBytes),
    protection: new Step('get_protection_status', encodeId(id), 1),
  }));
  await operate(native, io, { object, steps: asked.flatMap(({ info, protection }) => [info, protection]) });
  return asked.map(({ info, protection }) => {
    const snapshot = decodeSnapshot(info.answer);
    return snapshot === null ? null : { ...snapshot, protected: protection.answer[0] === isProtected };
  });
};

/**
 * All image-meta, to the byte: `rbd_metadata_list` would end each value at a NUL within. Needs no lock and no room in the pool. One of format 1
 * has none.
 */
export const metadataById = async ({ native }: Connection, io: IoHandle, imageId: string): Promise<Pair[]> => {
  if (imageId === '') return [];
  const found: Pair[] = [];
  for (;;) {
    const ask = encodeMetadataAsk(found.at(-1)?.[0] ?? nothing, metadataPage);
    const method = 'metadata_list';
    const page = decodePairs(
      await execute(native, io, { object: headerOf(imageId), method, ask, room: firstPageBytes }),
    );
    found.push(...page);
    if (page.length < metadataPage) return found;
  }
};

/** RBD_FEATURE_JOURNALING */
const journaling = 1n << 6n;

/**
 * Whether image-meta of ours may be set in the header itself. Librbd takes the image's exclusive lock for it, which costs a dozen questions and is
 * needed for two things only: settings (`conf_`) are looked at, and a journal gets to know, from which a mirror is made.
 */
export const mayBeSetInHeader = async ({ native }: Connection, io: IoHandle, imageId: string): Promise<boolean> => {
  const [object, ask] = [headerOf(imageId), encodeFeaturesAsk()];
  const features = decodeFeatures(await execute(native, io, { object, method: 'get_features', ask, room: 64 }));
  return (features & journaling) === 0n;
};

/** @throws NativeError at the image when it is gone: no header is made by this */
export const setInHeader = async (
  connection: Connection,
  io: IoHandle,
  { imageId, key, value }: { readonly imageId: string; readonly key: string; readonly value: string },
): Promise<void> => {
  await change(connection.native, io, {
    object: headerOf(imageId),
    method: 'metadata_set',
    ask: encodePair(key, value),
  });
};

/** @throws NativeError, a missing one also when there is no such key */
export const removeInHeader = async (
  { native }: Connection,
  io: IoHandle,
  { imageId, key }: { readonly imageId: string; readonly key: string },
): Promise<void> => {
  const [object, ask] = [headerOf(imageId), encodeText(key)];
  // The removal itself is content when there is none.
  await execute(native, io, { object, method: 'metadata_get', ask, room: firstPageBytes });
  await change(native, io, { object, method: 'metadata_remove', ask });
};

const change = async (
  native: Native,
  io: IoHandle,
  { object, method, ask }: Omit<Execution, 'room'>,
): Promise<void> => {
  const op = native.rados_create_write_op();
  try {
    native.rados_write_op_assert_exists(op);
    native.rados_write_op_exec(op, 'rbd', method, ask, ask.length, null);
    await calling('image', native.rados_write_op_operate, op, io, object, null, 0);
  } finally {
    native.rados_release_write_op(op);
  }
};

interface Execution {
  readonly object: string;
  readonly method: string;
  readonly ask: Buffer;
  /** Bytes that the answer may have at first. */
  readonly room: number;
}

const execute = async (native: Native, io: IoHandle, { object, method, ask, room }: Execution): Promise<Buffer> => {
  const answer = Buffer.allocUnsafe(room);
  try {
    const size = await calling('image', native.rados_exec, io, object, 'rbd', method, ask, ask.length, answer, room);
    return answer.subarray(0, size);
  } catch (thrown) {
    const isTooSmall = thrown instanceof NativeError && thrown.failure.errno === erange;
    if (!isTooSmall || room >= mostPageBytes) throw thrown;
    return execute(native, io, { object, method, ask, room: room * 8 });
  }
};

/** One call of several that go to an object together. */
class Step {
  readonly #method: string;
  readonly #ask: Buffer;
  /** What the operation writes into; kept here until it is done. */
  readonly #room: Buffer;
  readonly #used = Buffer.alloc(8);
  readonly #result = Buffer.alloc(4);

  constructor(method: string, ask: Buffer, roomBytes: number) {
    this.#method = method;
    this.#ask = ask;
    this.#room = Buffer.alloc(roomBytes);
  }

  addTo(native: Native, op: ReturnType<Native['rados_create_read_op']>): void {
    const [ask, room] = [this.#ask, this.#room];
    native.rados_read_op_exec_user_buf(
      op,
      'rbd',
      this.#method,
      ask,
      ask.length,
      room,
      room.length,
      this.#used,
      this.#result,
    );
  }

  /** @throws NativeError when this step failed */
  get answer(): Buffer {
    const result = this.#result.readInt32LE();
    if (result < 0) throw new NativeError({ errno: -result, at: 'image', call: `rbd.${this.#method}` });
    const used = Number(this.#used.readBigUInt64LE());
    if (used > this.#room.length) throw new NativeError({ errno: eio, at: 'image', call: `rbd.${this.#method}` });
    return this.#room.subarray(0, used);
  }
}

const operate = async (
  native: Native,
  io: IoHandle,
  { object, steps }: { readonly object: string; readonly steps: readonly Step[] },
): Promise<void> => {
  const op = native.rados_create_read_op();
  try {
    for (const step of steps) step.addTo(native, op);
    await calling('image', native.rados_read_op_operate, op, io, object, 0);
  } finally {
    native.rados_release_read_op(op);
  }
};
