import type { KoffiFunc, LibraryHandle } from 'koffi';

/** Opaque handles of librados and librbd. They never leave the helper: a wrong one is a segmentation fault. */
export type ClusterHandle = bigint & { readonly handle: 'rados_t' };
export type IoHandle = bigint & { readonly handle: 'rados_ioctx_t' };
export type ReadOpHandle = bigint & { readonly handle: 'rados_read_op_t' };
export type WriteOpHandle = bigint & { readonly handle: 'rados_write_op_t' };
export type ImageHandle = bigint & { readonly handle: 'rbd_image_t' };
/** Where a function puts a handle. */
export type Out<T> = [T | null];
/** Where a function reads a size and writes the needed one. */
export type InOut = [number];

/** Called for each extent that differs; a negative answer ends the iteration with that errno. */
export type OnExtent = (offset: number | bigint, length: number, exists: number) => number;

type Returns<Args extends unknown[]> = KoffiFunc<(...args: Args) => number>;

/** The functions that are used, by their names in C. Each answers a negative errno for a failure unless it says otherwise. */
export interface Native {
  readonly librbdVersion: string;
  readonly rados_create: Returns<[Out<ClusterHandle>, string]>;
  readonly rados_conf_read_file: Returns<[ClusterHandle, string]>;
  readonly rados_conf_set: Returns<[ClusterHandle, string, string]>;
  readonly rados_connect: Returns<[ClusterHandle]>;
  readonly rados_cluster_fsid: Returns<[ClusterHandle, Buffer, number]>;
  readonly rados_getaddrs: Returns<[ClusterHandle, Out<bigint>]>;
  readonly rados_buffer_free: KoffiFunc<(buffer: bigint) => void>;
  readonly rados_blocklist_add: Returns<[ClusterHandle, string, number]>;
  readonly rados_pool_reverse_lookup: Returns<[ClusterHandle, bigint | number, Buffer, number]>;
  readonly rados_ioctx_create: Returns<[ClusterHandle, string, Out<IoHandle>]>;
  readonly rados_ioctx_destroy: KoffiFunc<(io: IoHandle) => void>;
  readonly rados_ioctx_get_id: KoffiFunc<(io: IoHandle) => number | bigint>;
  readonly rados_ioctx_set_namespace: KoffiFunc<(io: IoHandle, namespace: string) => void>;
  readonly rados_set_pool_full_try: KoffiFunc<(io: IoHandle) => void>;
  readonly rados_exec: Returns<[IoHandle, string, string, string, Buffer, number, Buffer, number]>;
  readonly rados_create_read_op: KoffiFunc<() => ReadOpHandle>;
  readonly rados_release_read_op: KoffiFunc<(op: ReadOpHandle) => void>;
  /** The answer's buffers are written when the operation is carried out: they must be kept until then. */
  readonly rados_read_op_exec_user_buf: KoffiFunc<
    (
      op: ReadOpHandle,
      cls: string,
      method: string,
      ask: Buffer,
      askBytes: number,
      answer: Buffer,
      room: number,
      used: Buffer,
      result: Buffer,
    ) => void
  >;
  readonly rados_read_op_operate: Returns<[ReadOpHandle, IoHandle, string, number]>;
  readonly rados_create_write_op: KoffiFunc<() => WriteOpHandle>;
  readonly rados_release_write_op: KoffiFunc<(op: WriteOpHandle) => void>;
  readonly rados_write_op_assert_exists: KoffiFunc<(op: WriteOpHandle) => void>;
  readonly rados_write_op_exec: KoffiFunc<
    (op: WriteOpHandle, cls: string, method: string, ask: Buffer, askBytes: number, result: null) => void
  >;
  readonly rados_write_op_operate: Returns<[WriteOpHandle, IoHandle, string, null, number]>;
  readonly rbd_open: Returns<[IoHandle, string, Out<ImageHandle>, null]>;
  readonly rbd_open_read_only: Returns<[IoHandle, string, Out<ImageHandle>, null]>;
  readonly rbd_open_by_id: Returns<[IoHandle, string, Out<ImageHandle>, null]>;
  readonly rbd_open_by_id_read_only: Returns<[IoHandle, string, Out<ImageHandle>, null]>;
  readonly rbd_close: Returns<[ImageHandle]>;
  readonly rbd_snap_set: Returns<[ImageHandle, string]>;
  readonly rbd_stat: Returns<[ImageHandle, Buffer, number]>;
  readonly rbd_get_id: Returns<[ImageHandle, Buffer, number]>;
  readonly rbd_get_name: Returns<[ImageHandle, Buffer, [number]]>;
  readonly rbd_get_old_format: Returns<[ImageHandle, Buffer]>;
  readonly rbd_get_features: Returns<[ImageHandle, [number | bigint]]>;
  readonly rbd_get_op_features: Returns<[ImageHandle, [number | bigint]]>;
  readonly rbd_get_stripe_unit: Returns<[ImageHandle, [number | bigint]]>;
  readonly rbd_get_stripe_count: Returns<[ImageHandle, [number | bigint]]>;
  /** Answers the pool's id. */
  readonly rbd_get_data_pool_id: KoffiFunc<(image: ImageHandle) => number | bigint>;
  readonly rbd_get_parent: Returns<[ImageHandle, Buffer, Buffer]>;
  readonly rbd_linked_image_spec_cleanup: KoffiFunc<(spec: Buffer) => void>;
  readonly rbd_snap_spec_cleanup: KoffiFunc<(spec: Buffer) => void>;
  readonly rbd_get_group: Returns<[ImageHandle, Buffer, number]>;
  readonly rbd_group_info_cleanup: Returns<[Buffer, number]>;
  readonly rbd_mirror_image_get_info: Returns<[ImageHandle, Buffer, number]>;
  readonly rbd_mirror_image_get_info_cleanup: KoffiFunc<(info: Buffer) => void>;
  /** Answers the number of snapshots. */
  readonly rbd_snap_list: Returns<[ImageHandle, Buffer, InOut]>;
  readonly rbd_snap_list_end: KoffiFunc<(snaps: Buffer) => void>;
  readonly rbd_snap_get_namespace_type: Returns<[ImageHandle, bigint, InOut]>;
  readonly rbd_snap_is_protected: Returns<[ImageHandle, string, InOut]>;
  readonly rbd_snap_create: Returns<[ImageHandle, string]>;
  readonly rbd_snap_remove: Returns<[ImageHandle, string]>;
  readonly rbd_metadata_set: Returns<[ImageHandle, string, Buffer]>;
  readonly rbd_metadata_remove: Returns<[ImageHandle, string]>;
  readonly rbd_watchers_list: Returns<[ImageHandle, Buffer, InOut]>;
  readonly rbd_watchers_list_cleanup: KoffiFunc<(watchers: Buffer, count: number) => void>;
  readonly rbd_list2: Returns<[IoHandle, Buffer, InOut]>;
  readonly rbd_image_spec_list_cleanup: KoffiFunc<(images: Buffer, count: number) => void>;
  readonly rbd_trash_list: Returns<[IoHandle, Buffer, InOut]>;
  readonly rbd_trash_list_cleanup: KoffiFunc<(entries: Buffer, count: number) => void>;
  readonly rbd_trash_move: Returns<[IoHandle, string, number]>;
  readonly rbd_trash_restore: Returns<[IoHandle, string, string]>;
  readonly rbd_namespace_exists: Returns<[IoHandle, string, [boolean]]>;
  readonly rbd_rename: Returns<[IoHandle, string, string]>;
  /** `from` may be null, `parent` and `whole` are 0 or 1. */
  readonly rbd_diff_iterate2: Returns<
    [ImageHandle, string | null, number | bigint, number | bigint, number, number, OnExtent, null]
  >;
  /** The text at a pointer that a function gave, '' for none. */
  readonly textAt: (pointer: bigint) => string;
}

/** As `rados/librados.h` and `rbd/librbd.h` declare them; compared from 14.2 to 20.2, where none has changed. */
const rados = [
  'int rados_create(_Out_ rados_t *cluster, const char *id)',
  'int rados_conf_read_file(rados_t cluster, const char *path)',
  'int rados_conf_set(rados_t cluster, const char *option, const char *value)',
  'int rados_connect(rados_t cluster)',
  'int rados_cluster_fsid(rados_t cluster, _Out_ uint8_t *fsid, size_t size)',
  'int rados_getaddrs(rados_t cluster, _Out_ uintptr_t *addresses)',
  'void rados_buffer_free(uintptr_t buffer)',
  'int rados_pool_reverse_lookup(rados_t cluster, int64_t id, _Out_ uint8_t *name, size_t size)',
  'int rados_ioctx_create(rados_t cluster, const char *pool, _Out_ rados_ioctx_t *io)',
  'void rados_ioctx_destroy(rados_ioctx_t io)',
  'int64_t rados_ioctx_get_id(rados_ioctx_t io)',
  'void rados_ioctx_set_namespace(rados_ioctx_t io, const char *name)',
  'void rados_set_pool_full_try(rados_ioctx_t io)',
  'int rados_exec(rados_ioctx_t io, const char *object, const char *class, const char *method, const uint8_t *ask, size_t length, _Out_ uint8_t *answer, size_t size)',
  'rados_read_op_t rados_create_read_op()',
  'void rados_release_read_op(rados_read_op_t op)',
  'void rados_read_op_exec_user_buf(rados_read_op_t op, const char *class, const char *method, const uint8_t *ask, size_t length, uint8_t *answer, size_t size, uint8_t *used, uint8_t *result)',
  'rados_write_op_t rados_create_write_op()',
  'void rados_release_write_op(rados_write_op_t op)',
  'void rados_write_op_assert_exists(rados_write_op_t op)',
  'void rados_write_op_exec(rados_write_op_t op, const char *class, const char *method, const uint8_t *ask, size_t length, int *result)',
  'int rados_write_op_operate(rados_write_op_t op, rados_ioctx_t io, const char *object, int64_t *time, int flags)',
  'int rados_read_op_operate(rados_read_op_t op, rados_ioctx_t io, const char *object, int flags)',
];

const rbd = [
  'int rbd_open(rados_ioctx_t io, const char *name, _Out_ rbd_image_t *image, const char *snap)',
  'int rbd_open_read_only(rados_ioctx_t io, const char *name, _Out_ rbd_image_t *image, const char *snap)',
  'int rbd_open_by_id(rados_ioctx_t io, const char *id, _Out_ rbd_image_t *image, const char *snap)',
  'int rbd_open_by_id_read_only(rados_ioctx_t io, const char *id, _Out_ rbd_image_t *image, const char *snap)',
  'int rbd_close(rbd_image_t image)',
  'int rbd_snap_set(rbd_image_t image, const char *snap)',
  'int rbd_stat(rbd_image_t image, _Out_ uint8_t *info, size_t size)',
  'int rbd_get_id(rbd_image_t image, _Out_ uint8_t *id, size_t size)',
  'int rbd_get_name(rbd_image_t image, _Out_ uint8_t *name, _Inout_ size_t *size)',
  'int rbd_get_old_format(rbd_image_t image, _Out_ uint8_t *old)',
  'int rbd_get_features(rbd_image_t image, _Out_ uint64_t *features)',
  'int rbd_get_op_features(rbd_image_t image, _Out_ uint64_t *features)',
  'int rbd_get_stripe_unit(rbd_image_t image, _Out_ uint64_t *unit)',
  'int rbd_get_stripe_count(rbd_image_t image, _Out_ uint64_t *count)',
  'int64_t rbd_get_data_pool_id(rbd_image_t image)',
  'int rbd_get_parent(rbd_image_t image, _Out_ uint8_t *parent, _Out_ uint8_t *snap)',
  'void rbd_linked_image_spec_cleanup(uint8_t *spec)',
  'void rbd_snap_spec_cleanup(uint8_t *spec)',
  'int rbd_get_group(rbd_image_t image, _Out_ uint8_t *group, size_t size)',
  'int rbd_group_info_cleanup(uint8_t *group, size_t size)',
  'int rbd_mirror_image_get_info(rbd_image_t image, _Out_ uint8_t *info, size_t size)',
  'void rbd_mirror_image_get_info_cleanup(uint8_t *info)',
  'int rbd_snap_list(rbd_image_t image, _Out_ uint8_t *snaps, _Inout_ int *max)',
  'void rbd_snap_list_end(uint8_t *snaps)',
  'int rbd_snap_get_namespace_type(rbd_image_t image, uint64_t id, _Out_ int *type)',
  'int rbd_snap_is_protected(rbd_image_t image, const char *snap, _Out_ int *protected)',
  'int rbd_snap_create(rbd_image_t image, const char *snap)',
  'int rbd_snap_remove(rbd_image_t image, const char *snap)',
  'int rbd_metadata_set(rbd_image_t image, const char *key, const uint8_t *value)',
  'int rbd_metadata_remove(rbd_image_t image, const char *key)',
  'int rbd_watchers_list(rbd_image_t image, _Out_ uint8_t *watchers, _Inout_ size_t *max)',
  'void rbd_watchers_list_cleanup(uint8_t *watchers, size_t count)',
  'int rbd_list2(rados_ioctx_t io, _Out_ uint8_t *images, _Inout_ size_t *max)',
  'void rbd_image_spec_list_cleanup(uint8_t *images, size_t count)',
  'int rbd_trash_list(rados_ioctx_t io, _Out_ uint8_t *entries, _Inout_ size_t *max)',
  'void rbd_trash_list_cleanup(uint8_t *entries, size_t count)',
  'int rbd_trash_move(rados_ioctx_t io, const char *name, uint64_t delay)',
  'int rbd_trash_restore(rados_ioctx_t io, const char *id, const char *name)',
  'int rbd_namespace_exists(rados_ioctx_t io, const char *name, _Out_ bool *exists)',
  'int rbd_rename(rados_ioctx_t io, const char *from, const char *to)',
  'int rbd_diff_iterate2(rbd_image_t image, const char *from, uint64_t offset, uint64_t length, uint8_t parent, uint8_t whole, OnExtent *found, void *unused)',
];

/** Types of pointers: koffi takes none for another. */
const handles = ['rados_t', 'rados_ioctx_t', 'rados_read_op_t', 'rados_write_op_t', 'rbd_image_t'];

/** How many calls may be under way at once: each takes a thread, and UV_THREADPOOL_SIZE of the helper is above it. */
export const maxCalls = 48;

/**
 * Loads librados and librbd and looks whether they are what is declared here.
 * @throws when the package koffi, a library or a function in it is missing
 */
export const loadNative = async (): Promise<Native> => {
  const { default: koffi } = await import('koffi');
  // What C code runs on in an asynchronous call; librbd was made for a thread's stack.
  koffi.config({
    async_stack_size: 1024 * 1024,
    async_heap_size: 512 * 1024,
    max_async_calls: 1024,
    resident_async_pools: 32,
  });
  for (const handle of handles) koffi.pointer(handle, koffi.opaque());
  koffi.proto('int OnExtent(uint64_t offset, size_t length, int exists, void *unused)');
  const libraries = { rados: koffi.load('librados.so.2'), rbd: koffi.load('librbd.so.1') };
  const functions: Record<string, unknown> = {};
  for (const [library, declarations] of [
    [libraries.rados, rados],
    [libraries.rbd, rbd],
  ] as const) {
    for (const declaration of declarations) functions[nameIn(declaration)] = library.func(declaration);
  }
  functions['rados_blocklist_add'] = eitherOf(
    () => libraries.rados.func('int rados_blocklist_add(rados_t cluster, const char *address, uint32_t seconds)'),
    // Its name before 15.2.
    () => libraries.rados.func('int rados_blacklist_add(rados_t cluster, const char *address, uint32_t seconds)'),
  );
  functions['textAt'] = (pointer: bigint): string => (pointer === 0n ? '' : koffi.decode.string(pointer));
  functions['librbdVersion'] = versionOf(libraries.rbd);
  return functions as unknown as Native;
};

const nameIn = (declaration: string): string => /(\w+)\(/.exec(declaration)?.[1] ?? declaration;

const eitherOf = <T>(first: () => T, second: () => T): T => {
  try {
    return first();
  } catch {
    return second();
  }
};

/** The interface's version, such as 1.16.0. */
const versionOf = (library: LibraryHandle): string => {
  const [major, minor, extra]: [number][] = [[0], [0], [0]];
  library.func('void rbd_version(_Out_ int *major, _Out_ int *minor, _Out_ int *extra)')(major, minor, extra);
  return [major, minor, extra].map((part) => part?.[0]).join('.');
};
