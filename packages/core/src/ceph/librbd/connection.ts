import type { ImageRef, PoolSpec } from '../../model/image-spec.js';
import type { ImageHandle, IoHandle, ClusterHandle, Native, Out } from './native.js';
import { calling, isMissing, knowing, NativeError } from './native-failure.js';
import type { StartMessage } from './protocol.js';

const enoent = 2;
const efault = 14;

export interface OpenOptions {
  /** Look at the image as it was at this snapshot. */
  readonly snap?: string | null;
  /** Whether it will be changed: that costs a watch on it, and a lock when it is. */
  readonly write?: boolean;
  /** Whether a full pool should let it through, which it does for what makes things fewer. */
  readonly frees?: boolean;
}

/** A connection to one cluster as one user. */
export class Connection {
  readonly native: Native;
  readonly #cluster: ClusterHandle;

  private constructor(native: Native, cluster: ClusterHandle) {
    this.native = native;
    this.#cluster = cluster;
  }

  /** @throws NativeError when the cluster is not reached, or does not know the user */
  static async open(native: Native, options: StartMessage): Promise<Connection> {
    const out: Out<ClusterHandle> = [null];
    knowing('call', native.rados_create, out, options.user);
    const cluster = given(out, 'rados_create');
    knowing('call', native.rados_conf_read_file, cluster, options.conf);
    for (const [option, value] of settingsOf(options)) knowing('call', native.rados_conf_set, cluster, option, value);
    await calling('call', native.rados_connect, cluster);
    return new Connection(native, cluster);
  }

  get fsid(): string {
    const text = Buffer.alloc(37);
    knowing('call', this.native.rados_cluster_fsid, this.#cluster, text, text.length);
    return textIn(text);
  }

  /** What the cluster knows this client by: what to shut out when it is gone. */
  get address(): string {
    const out: Out<bigint> = [null];
    knowing('call', this.native.rados_getaddrs, this.#cluster, out);
    const pointer = given(out, 'rados_getaddrs');
    const text = this.native.textAt(pointer);
    this.native.rados_buffer_free(pointer);
    return text;
  }

  async blocklist(address: string, seconds: number): Promise<void> {
    await calling('call', this.native.rados_blocklist_add, this.#cluster, address, seconds);
  }

  /** The name of a pool, by its id. */
  poolName(id: number | bigint): string {
    const name = Buffer.alloc(4096);
    knowing('pool', this.native.rados_pool_reverse_lookup, this.#cluster, id, name, name.length);
    return textIn(name);
  }

  /** Opens a pool (or one namespace of it) for the time of `use`. The pool is looked up each time: another may have its name by now. */
  async inPool<T>(
    { pool, namespace }: PoolSpec,
    use: (io: IoHandle) => Promise<T>,
    { frees = false } = {},
  ): Promise<T> {
    const { native } = this;
    const out: Out<IoHandle> = [null];
    await calling('pool', native.rados_ioctx_create, this.#cluster, pool, out);
    const io = given(out, 'rados_ioctx_create');
    try {
      if (namespace !== '') native.rados_ioctx_set_namespace(io, namespace);
      if (frees) native.rados_set_pool_full_try(io);
      return await use(io);
    } catch (thrown) {
      if (namespace !== '' && isMissing(thrown)) await this.requireNamespace(io, namespace);
      throw thrown;
    } finally {
      native.rados_ioctx_destroy(io);
    }
  }

  /** @throws NativeError at the namespace: librbd finds nothing in one that is not there, and says no more */
  async requireNamespace(io: IoHandle, namespace: string): Promise<void> {
    if (namespace === '') return;
    const exists: [boolean] = [false];
    await calling('namespace', this.native.rbd_namespace_exists, io, namespace, exists);
    if (!exists[0]) throw new NativeError({ errno: enoent, at: 'namespace', call: 'rbd_namespace_exists' });
  }

  /** Opens an image for the time of `use`. @throws NativeError at the pool, namespace, image or snapshot that is not there */
  withImage<T>(ref: ImageRef, options: OpenOptions, use: (image: ImageHandle, io: IoHandle) => Promise<T>): Promise<T> {
    const { snap = null, write = false } = options;
    return this.inPool(
      ref,
      async (io) => {
        const image = await this.#openImage(io, ref, write);
        try {
          if (snap !== null) await calling('snapshot', this.native.rbd_snap_set, image, snap);
          return await use(image, io);
        } finally {
          // What was done was answered for; a handle that cannot be closed in order is gone all the same.
          await calling('image', this.native.rbd_close, image).catch(() => 0);
        }
      },
      options,
    );
  }

  async #openImage(io: IoHandle, ref: ImageRef, write: boolean): Promise<ImageHandle> {
    const { native } = this;
    const out: Out<ImageHandle> = [null];
    if ('imageId' in ref) {
      const open = write ? native.rbd_open_by_id : native.rbd_open_by_id_read_only;
      await calling('image', open, io, ref.imageId, out, null);
    } else {
      const open = write ? native.rbd_open : native.rbd_open_read_only;
      await calling('image', open, io, ref.image, out, null);
    }
    return given(out, 'rbd_open');
  }
}

/**
 * Against what ceph.conf may say for every client (a socket or a log file that the daemon's user may not make), and as the `rbd`
 * program is told.
 */
const settingsOf = ({ keyring, connectSeconds, concurrency }: StartMessage): [string, string][] => [
  ...(keyring === undefined ? [] : [['keyring', keyring] as [string, string]]),
  ['client_mount_timeout', `${connectSeconds}`],
  ['rbd_concurrent_management_ops', `${concurrency}`],
  ['admin_socket', ''],
  ['log_file', ''],
  ['log_to_stderr', 'false'],
  ['err_to_stderr', 'false'],
  // Image data is never read or written here.
  ['rbd_cache', 'false'],
];

const given = <T>([value]: Out<T>, call: string): T => {
  if (value === null) throw new NativeError({ errno: efault, at: 'call', call });
  return value;
};

/** Text up to its NUL. */
export const textIn = (bytes: Buffer): string => {
  const end = bytes.indexOf(0);
  return bytes.toString('utf8', 0, end === -1 ? bytes.length : end);
};
