import type { CephPort } from '@rbdferry/core/ceph/port.js';
import type { ImageSpec } from '@rbdferry/core/model/image-spec.js';

/**
 * A cluster that a contract suite runs on, with what its cases need besides the port: what an operator, a virtual machine or an accident
 * does to it. It has a pool `rbd` with a namespace `ns`, a pool `ec` for data only, and a pool `secret` that the port's user may not see.
 *
 * Where FakeCeph is not like the adapter over `rbd`, and what a test on it therefore does not show:
 *
 * - It has no clock. A call that hangs does so until its signal is aborted, there are no deadlines (CEPH_TIMEOUT comes only where the
 *   full pool of a user who cannot see that makes one sure), and the watch of a client that died goes when a test says so.
 * - Each call is done at once and as a whole: it is never broken off in its middle, and no two change an image at the same time.
 * - It counts what was written in blocks of 4 KiB, and nothing that was discarded before a full (16.2.15 does, 18.2 does not).
 * - Its import refuses every stream that our parser refuses. `import-diff` lets many of them pass.
 * - Features, stripes and data pools are names to it; a data pool only matters when it is full or missing.
 * - An import whose process dies has ended at once. In `rbd` it is a process of its own, which lives a moment longer.
 */
export interface World {
  readonly ceph: CephPort;
  readonly fsid: string;
  /** More than what is read ahead and kept in pipes. */
  readonly manyBytes: number;
  write(image: ImageSpec, offset: number, bytes: Uint8Array): Promise<void>;
  resize(image: ImageSpec, sizeBytes: number): Promise<void>;
  /** Of the whole content of the head or of a snapshot, in hex. */
  sha256(image: ImageSpec, snap?: string): Promise<string>;
  protect(image: ImageSpec, snap: string): Promise<void>;
  unprotect(image: ImageSpec, snap: string): Promise<void>;
  /** Of format 2. */
  clone(parent: ImageSpec, snap: string, child: ImageSpec): Promise<void>;
  flatten(image: ImageSpec): Promise<void>;
  /** Runs while another client has the image open, as a virtual machine would. */
  whileInUse(image: ImageSpec, use: () => Promise<void>): Promise<void>;
  /** Removes the image, and dies in the middle of it. */
  breakOffRemoval(image: ImageSpec): Promise<void>;
  /** When an image in the trash of the pool `rbd` may be taken from there. */
  trashedUntil(imageId: string): Promise<Date>;
  /** Kills the port's running children of this verb. */
  killChildren(verb: 'export-diff' | 'import-diff'): Promise<void>;
  /** Another process imports these bytes, with its input kept open, and is killed after `meanwhile`. */
  importAndDie(image: ImageSpec, bytes: Uint8Array, meanwhile: () => Promise<void>): Promise<void>;
  stop(): Promise<void>;
}
