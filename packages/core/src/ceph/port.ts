import type { MetadataEntry } from '../model/image-meta.js';
import type { ImageRef, ImageSpec, PoolSpec } from '../model/image-spec.js';
import type { Lease } from '../transfer/lease.js';

/**
 * What rbdferry needs of a Ceph cluster. One instance speaks to one cluster as one CephX user.
 *
 * Promises of every method: the names it gets are legal (the model's parsers made them); it never waits for ever
 * (a deadline for what is quick, a watch on progress for what grows with the image; `exportDiff` and `importDiff` are watched by
 * their callers); a write that a full pool holds up fails with CEPH_NO_SPACE after a few seconds, if the user may see the pool's
 * flags; it throws only FerryError, with a CEPH_* code or the more precise one named below; an aborted signal ends the
 * child and throws the signal's reason. A command that changes an image and has to be killed is shut out of the cluster, where its address can be
 * found out: else its lock stays on the image for 30 s.
 */
export interface CephPort {
  /** The cluster's fsid, asked once and remembered. @param options.isAsked asks the cluster again, to see whether it answers */
  fsid(options?: CallOptions & { readonly isAsked?: boolean }): Promise<string>;

  /** An image in the trash is found by its id only. @throws IMAGE_NOT_FOUND, POOL_NOT_FOUND, NAMESPACE_NOT_FOUND */
  info(image: ImageRef, options?: CallOptions): Promise<ImageInfo>;

  /** The image as it was at a snapshot: its size then, and the parent that this snapshot still reads from. @throws IMAGE_NOT_FOUND, SNAPSHOT_NOT_FOUND */
  infoAt(image: ImageRef, snap: string, options?: CallOptions): Promise<ImageInfo>;

  /**
   * Names of the images in a pool or namespace (without the trash), in the cluster's order. An image whose removal was
   * interrupted is among them, though `info` no longer finds it: `remove` finishes that. @throws POOL_NOT_FOUND, NAMESPACE_NOT_FOUND
   */
  list(where: PoolSpec, options?: CallOptions): Promise<string[]>;

  /**
   * Names, ids and snapshots of every image in one pass (`rbd ls -l`), one process for the whole pool: about 3 ms an image.
   * Without those that vanish meanwhile and those whose removal was interrupted.
   */
  listWithSnapshots(where: PoolSpec, options?: CallOptions): Promise<ImageListing[]>;

  /** User snapshots, oldest first. @throws IMAGE_NOT_FOUND */
  snapshots(image: ImageRef, options?: CallOptions): Promise<Snapshot[]>;

  /**
   * Snapshots that Ceph keeps for itself, which `snapshots` does not list and which keep the image from being removed: removed ones that
   * a clone still needs, those of groups and of mirroring. As texts for a message. Finishes removals that were broken off before it
   * answers. @throws IMAGE_NOT_FOUND
   */
  hiddenSnapshots(image: ImageSpec, options?: CallOptions): Promise<string[]>;

  /**
   * Clones of a snapshot, as texts for a message; one in a pool that the user may not see is told as such.
   * @throws IMAGE_NOT_FOUND, SNAPSHOT_NOT_FOUND
   */
  clones(image: ImageSpec, snap: string, options?: CallOptions): Promise<string[]>;

  /**
   * Whether the head may differ from a snapshot: an object was written since. False is sure, true is not: a rollback counts as writing.
   * Milliseconds with fast-diff, without it as long as `diffExtents`. @throws SNAPSHOT_NOT_FOUND
   */
  headMayDiffer(image: ImageSpec, snap: string, options?: CallOptions): Promise<boolean>;

  /** Makes an empty image. @throws IMAGE_EXISTS, POOL_NOT_FOUND (also for the data pool) */
  create(image: ImageSpec, layout: ImageLayout, options?: CallOptions): Promise<void>;

  /** @throws SNAPSHOT_EXISTS, IMAGE_NOT_FOUND */
  createSnapshot(image: ImageSpec, snap: string, options?: CallOptions): Promise<void>;

  /** Answers false when there was no such snapshot (or image), not even one whose removal was broken off. One with clones of format 2 goes as well, and its data stays for them. Refuses protected snapshots with CEPH_FAILED. */
  removeSnapshot(image: ImageRef, snap: string, options?: CallOptions): Promise<boolean>;

  /** Makes the head equal to the snapshot, its size included. Time grows with the image. @throws SNAPSHOT_NOT_FOUND */
  rollback(image: ImageSpec, snap: string, options?: CallOptions): Promise<void>;

  /**
   * The image-meta of the image as text, in which bytes that are no UTF-8 are replaced: for keys that rbdferry wrote itself. Counts
   * as a watcher while it runs.
   */
  metadata(image: ImageSpec, options?: CallOptions): Promise<Map<string, string>>;
  /**
   * All image-meta of the image, to the byte: for what must come back as it was. @param imageId as `info` says
   * @throws IMAGE_NOT_FOUND
   */
  metadataEntries(image: ImageSpec, imageId: string, options?: CallOptions): Promise<MetadataEntry[]>;
  /** @param value 1 to {@link maxMetadataValueBytes} bytes of UTF-8 (it travels as one argument). */
  setMetadata(image: ImageSpec, key: string, value: string, options?: CallOptions): Promise<void>;
  /** Answers false when there was no such key. */
  removeMetadata(image: ImageSpec, key: string, options?: CallOptions): Promise<boolean>;

  /**
   * Addresses of clients that have the image open for writing (`rbd status`). This call's own is not among them; those of calls
   * that run at the same time are, unless they only look (`info`, `snapshots`, `listWithSnapshots`, `exportDiff`, `diffExtents`).
   */
  watchers(image: ImageSpec, options?: CallOptions): Promise<string[]>;

  /**
   * Whether the image is being imported from a file or a URL, from which it reads what is not there yet: `rbd export-diff` of such an image
   * crashes. One that is migrated from another pool is none.
   */
  liveImport(image: ImageSpec, options?: CallOptions): Promise<boolean>;

  /** Removes an image that has no snapshots. Time grows with the image. Answers false when there was none. @throws IMAGE_IN_USE (see `watchers`) */
  remove(image: ImageSpec, options?: CallOptions): Promise<boolean>;

  /**
   * Makes, while there is room, what the first removal of an image in a pool or namespace would make: on a full pool it cannot be
   * made, and then no image can be removed there. Does nothing when it is there.
   */
  prepareRemovals(where: PoolSpec, options?: CallOptions): Promise<void>;

  /**
   * Moves an image, with its snapshots, to the trash; `expiresAt` is when `rbd trash purge` may take it. Whether it is in use is
   * looked at first: rbd itself would take it away from under its users. @throws IMAGE_NOT_FOUND, IMAGE_IN_USE
   */
  moveToTrash(image: ImageSpec, expiresAt: Date, options?: CallOptions): Promise<void>;
  /** Entries of the trash. */
  trash(where: PoolSpec, options?: CallOptions): Promise<TrashEntry[]>;
  /** Brings an image back from the trash under this name. @throws IMAGE_EXISTS, IMAGE_NOT_FOUND (no such id in the trash) */
  restoreFromTrash(imageId: string, to: ImageSpec, options?: CallOptions): Promise<void>;

  /** Renames within one pool and namespace, whether or not the image is in use. @throws IMAGE_EXISTS, IMAGE_NOT_FOUND */
  rename(from: ImageSpec, to: ImageSpec, options?: CallOptions): Promise<void>;

  /**
   * `rbd export-diff`; the child is started at the first read. It may give no bytes for long, anywhere in the stream: about 7 s for
   * each TiB that does not differ, and more with distant OSDs. `onAlive` tells that it is at work.
   */
  exportDiff(image: ImageSpec, diff: DiffRange, options?: TransferCallOptions): ByteSource;

  /**
   * Starts `rbd import-diff` on the image's head. It may take no bytes for long: 38 s for each TiB by which an image without object-map
   * becomes smaller. `onAlive` tells that it is at work.
   */
  importDiff(image: ImageSpec, options?: TransferCallOptions): ByteSink;

  /**
   * Bytes that `exportDiff` will roughly send (the lengths of the extents that differ), from `rbd diff` read as a stream.
   * Exact as a count of extents; a stream's headers come on top. Looks at every object: 7 to 10 s for each TiB of the image.
   */
  diffExtents(image: ImageSpec, diff: DiffRange, options?: CallOptions): Promise<DiffExtents>;
}

export interface CallOptions {
  readonly signal?: AbortSignal | undefined;
}

export interface TransferCallOptions extends CallOptions {
  /** Called about twice a second while bytes come or the cluster answers, and not while the child hangs or waits for us. */
  readonly onAlive?: (() => void) | undefined;
}

export interface ImageInfo {
  /** Ceph's own id of the image; another image of the same name has another one. Empty for an image of format 1, which has none. */
  readonly id: string;
  readonly format: 1 | 2;
  /** What it is called now, which one that was asked for by its id can only learn here. */
  readonly name: string;
  readonly sizeBytes: bigint;
  readonly objectSizeBytes: number;
  /** Equal to the object size, and 1, when the image is not striped. */
  readonly stripeUnitBytes: number;
  readonly stripeCount: number;
  /** As `rbd info` names them, sorted: layering, exclusive-lock, ..., also data-pool, operations. */
  readonly features: readonly string[];
  /** Null when data lies in the image's own pool. */
  readonly dataPool: string | null;
  /** Set when the image is a clone that was not flattened. */
  readonly parent: ParentInfo | null;
  /** Whether one of its snapshots has a clone of format 2 (those of format 1 need a protected snapshot). */
  readonly hasClones: boolean;
  /** The group that it is a member of, as a text for a message. */
  readonly group: string | null;
  /** Null when it is not mirrored. */
  readonly mirroring: { readonly primary: boolean } | null;
}

/** The snapshot that a clone reads from. */
export interface ParentInfo extends PoolSpec {
  readonly image: string;
  readonly imageId: string;
  readonly snap: string;
}

export interface Snapshot {
  /** Never used again on that image. */
  readonly id: number;
  readonly name: string;
  /** Size of the image at this snapshot. */
  readonly sizeBytes: bigint;
  readonly protected: boolean;
}

export interface ImageListing {
  readonly name: string;
  readonly id: string;
  readonly snapshots: readonly Snapshot[];
}

export interface TrashEntry {
  readonly id: string;
  readonly name: string;
}

export interface ImageLayout {
  readonly sizeBytes: bigint;
  readonly objectSizeBytes: number;
  readonly stripeUnitBytes: number;
  readonly stripeCount: number;
  readonly features: readonly string[];
  readonly dataPool: string | null;
}

export interface DiffRange {
  /** The snapshot to export. */
  readonly snap: string;
  /** The snapshot to start from; null gives everything (a full). */
  readonly fromSnap: string | null;
}

export interface DiffExtents {
  readonly dataBytes: bigint;
  readonly zeroBytes: bigint;
  readonly extents: number;
}

/**
 * Bytes from a child, beginning with the diff's banner. Iterating ends normally only after the child has exited with 0: an
 * early end of its output is an error, never the end of the data. Leaving the loop early, or aborting the signal, ends the child.
 * Each chunk is the reader's own, to give back when it is not needed any more.
 */
export type ByteSource = AsyncIterable<Lease>;

/**
 * Bytes into a child. `finish` or `abort` must be called, in every path; `abort` may be called at any time, also while a `write`
 * or `finish` waits, which then fails (unless the child has committed already).
 */
export interface ByteSink {
  /**
   * Resolves when the child has room for more. The chunk stays the writer's own, and must not change until then.
   * @throws the child's own failure when it has exited (never just the broken pipe), or the signal's reason
   */
  write(chunk: Uint8Array): Promise<void>;
  /** Closes the input and waits for exit 0. @throws the child's failure */
  finish(): Promise<void>;
  /**
   * Closes the input without the end record and waits until the child is gone (after a grace time it is killed, and shut out
   * of the cluster: its lock would stay for 30 s, which closing the input does not cost). Never throws.
   */
  abort(): Promise<void>;
}

/**
 * Largest chunk of a {@link ByteSource}; most are of this size. A MiB was the best message measured (64 KiB and 4 MiB were slower);
 * the rest is for what the chunk before leaves over when zeros are cut out.
 */
export const sourceChunkBytes = (1024 - 8) * 1024;

/** Largest value {@link CephPort.setMetadata} takes: Linux caps one argument at 128 KiB. */
export const maxMetadataValueBytes = 120_000;
