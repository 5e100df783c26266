import { randomUUID } from 'node:crypto';
import type { ImageLayout } from '@rbdferry/core/ceph/port.js';
import type { ImageRef, ImageSpec, PoolSpec } from '@rbdferry/core/model/image-spec.js';
import { FakeImage, type FakeSnapshot } from './fake-image.js';
import { refusal } from './refusal.js';

/** What is in a pool's default namespace, or in another one. */
export class FakeNamespace {
  readonly images = new Map<string, FakeImage>();
  /** By id. */
  readonly trash = new Map<string, FakeImage>();
  /** Names that an interrupted removal left, with the watcher of its dead client. */
  readonly halfRemoved = new Map<string, FakeImage>();
  /** Whether there is an object for the trash, which every removal needs and which cannot be made on a full pool. */
  hasTrash = false;

  /** In the cluster's order. */
  get names(): string[] {
    return [...this.images.keys(), ...this.halfRemoved.keys()].toSorted();
  }
}

export class FakePool {
  readonly namespaces = new Map([['', new FakeNamespace()]]);
  /** Whether users may see and change what is in it. */
  readonly permitted: boolean;
  full = false;
  #snapshots = 0;

  constructor(permitted: boolean) {
    this.permitted = permitted;
  }

  /** Ids of snapshots belong to the pool. */
  nextSnapshotId(): number {
    return (this.#snapshots += 1);
  }
}

/** Pools, namespaces and images of a cluster, and how they are found. */
export class ClusterState {
  readonly fsid: string = randomUUID();
  protected readonly pools = new Map<string, FakePool>();
  /**
   * Changes of an image that were asked for while an import ran into it, as texts. The fake carries them out one after the other; in
   * `rbd`, of two commands that change an image at the same time one may hang (ceph/ceph pull 49835).
   */
  readonly overlaps: string[] = [];
  #images = 0;

  /** @throws POOL_NOT_FOUND */
  pool(name: string, what: string): FakePool {
    const pool = this.pools.get(name);
    if (pool === undefined) throw refusal('POOL_NOT_FOUND', what, `error opening pool '${name}'`);
    return pool;
  }

  /** @throws POOL_NOT_FOUND, NAMESPACE_NOT_FOUND */
  namespace({ pool, namespace }: PoolSpec, what: string): FakeNamespace {
    const found = this.pool(pool, what).namespaces.get(namespace);
    if (found === undefined) throw refusal('NAMESPACE_NOT_FOUND', what, `namespace '${namespace}' does not exist`);
    return found;
  }

  /** By name, or by id, and then also in the trash. @throws IMAGE_NOT_FOUND */
  image(ref: ImageRef, what: string): FakeImage {
    const { images, trash } = this.namespace(ref, what);
    const found =
      'imageId' in ref
        ? (trash.get(ref.imageId) ?? [...images.values()].find(({ id }) => id === ref.imageId))
        : images.get(ref.image);
    if (found !== undefined) return found;
    throw refusal('IMAGE_NOT_FOUND', what, `error opening image ${'image' in ref ? ref.image : ref.imageId}`);
  }

  /** A user's own snapshot. @throws IMAGE_NOT_FOUND, SNAPSHOT_NOT_FOUND */
  snapshot(ref: ImageRef, snap: string, what: string): { image: FakeImage; snapshot: FakeSnapshot } {
    const image = this.image(ref, what);
    const snapshot = image.snapshot(snap);
    if (snapshot === undefined) throw refusal('SNAPSHOT_NOT_FOUND', what, `there is no snapshot ${snap}`);
    return { image, snapshot };
  }

  addImage({ pool, namespace, image: name }: ImageSpec, layout: ImageLayout, what: string): FakeImage {
    const { images } = this.namespace({ pool, namespace }, what);
    const id = (0x10_0000 + (this.#images += 1)).toString(16);
    const image = new FakeImage(id, { pool, namespace }, name, layout);
    images.set(name, image);
    return image;
  }

  addSnapshotTo(image: FakeImage, name: string, what: string): void {
    if (image.snapshot(name) !== undefined) throw refusal('SNAPSHOT_EXISTS', what, `there is a snapshot ${name}`);
    image.addSnapshot(this.pool(image.place.pool, what).nextSnapshotId(), name);
  }

  /** To be called when a command is about to change an image. */
  noteChange({ imports }: FakeImage, what: string): void {
    if (imports > 0) this.overlaps.push(what);
  }

  /** Every image, those in the trash included. */
  *allImages(): Generator<FakeImage, void, undefined> {
    for (const pool of this.pools.values())
      for (const { images, trash } of pool.namespaces.values()) yield* [...images.values(), ...trash.values()];
  }

  /** Images whose head or snapshots read from this snapshot. */
  clonesOf(snapshot: FakeSnapshot): FakeImage[] {
    return [...this.allImages()].filter((image) =>
      [image, ...image.snapshots].some(({ parent }) => parent?.snapshot === snapshot),
    );
  }

  /** Whether anything reads from any snapshot of this image. */
  hasClones(of: FakeImage): boolean {
    for (const image of this.allImages())
      if ([image, ...image.snapshots].some(({ parent }) => parent?.image === of)) return true;
    return false;
  }

  /** Forgets removed snapshots that no clone needs any more. */
  trimHidden(): void {
    for (const image of this.allImages())
      for (const snapshot of image.snapshots)
        if (snapshot.hidden && this.clonesOf(snapshot).length === 0) image.dropSnapshot(snapshot);
  }
}
