import { formatImageSpec, formatPoolSpec, type ImageSpec } from '@rbdferry/core/model/image-spec.js';
import { ClusterState, FakeNamespace, FakePool } from './cluster-state.js';
import type { FakeImage, FakeSnapshot } from './fake-image.js';
import { Trouble } from './trouble.js';

/**
 * A Ceph cluster in memory. {@link fakeCeph} gives ports to it, as many as there are clients; what is here is done by its operator, or
 * by whoever uses the images, and never fails for a full pool or a missing right.
 */
export class FakeCluster extends ClusterState {
  readonly trouble = new Trouble();

  constructor(...pools: string[]) {
    super();
    for (const pool of pools) this.addPool(pool);
  }

  /** @param permitted whether users may see what is in it */
  addPool(name: string, { permitted = true }: { permitted?: boolean } = {}): void {
    this.pools.set(name, new FakePool(permitted));
  }

  addNamespace(pool: string, namespace: string): void {
    this.pool(pool, 'add a namespace').namespaces.set(namespace, new FakeNamespace());
  }

  setFull(pool: string, full = true): void {
    this.pool(pool, 'fill a pool').full = full;
  }

  write(image: ImageSpec, offset: number, bytes: Uint8Array): void {
    const { head, sizeBytes } = this.image(image, 'write');
    if (offset + bytes.length > Number(sizeBytes)) throw new RangeError(`${formatImageSpec(image)} ends before that`);
    head.write(offset, bytes);
  }

  discard(image: ImageSpec, offset: number, length: number): void {
    this.image(image, 'discard').head.discard(offset, length);
  }

  resize(image: ImageSpec, sizeBytes: number): void {
    this.image(image, 'resize').resize(BigInt(sizeBytes));
  }

  /** SHA-256, in hex, of the whole content of the head or of a snapshot. */
  sha256(spec: ImageSpec, snap?: string): string {
    const { head, sizeBytes } = this.image(spec, 'read');
    if (snap === undefined) return head.sha256(Number(sizeBytes));
    const { snapshot } = this.snapshot(spec, snap, 'read');
    return snapshot.content.sha256(Number(snapshot.sizeBytes));
  }

  addSnapshot(image: ImageSpec, snap: string): void {
    this.addSnapshotTo(this.image(image, 'add a snapshot'), snap, 'add a snapshot');
  }

  removeSnapshot(image: ImageSpec, snap: string): void {
    const found = this.snapshot(image, snap, 'remove a snapshot');
    found.image.dropSnapshot(found.snapshot);
  }

  setProtected(image: ImageSpec, snap: string, isProtected: boolean): void {
    this.snapshot(image, snap, 'protect').snapshot.protected = isProtected;
  }

  /** Makes a clone of format 2, with the layout and features of its parent. */
  clone(parent: ImageSpec, snap: string, child: ImageSpec): void {
    const { image, snapshot } = this.snapshot(parent, snap, 'clone');
    const clone = this.addImage(child, { ...image.layout, sizeBytes: snapshot.sizeBytes }, 'clone');
    clone.head = snapshot.content.copy();
    clone.parent = { image, snapshot };
  }

  /** Snapshots lose their parent as well when the image has the feature deep-flatten. */
  flatten(spec: ImageSpec): void {
    const image = this.image(spec, 'flatten');
    image.parent = null;
    if (image.layout.features.includes('deep-flatten')) for (const snapshot of image.snapshots) snapshot.parent = null;
    this.trimHidden();
  }

  /** A client opens the image for writing. Answers how it closes it again. */
  watch(image: ImageSpec): () => void {
    return this.image(image, 'open').watch();
  }

  /** The watches of clients that died run out, as they do after 30 s. Ends those of live ones as well. */
  expireWatches(): void {
    for (const image of this.allImages()) image.watchers.clear();
    for (const { halfRemoved } of this.#namespaces()) for (const image of halfRemoved.values()) image.watchers.clear();
  }

  /** A removal begins and its client dies: the name is left, no image, and the dead client's watch. */
  breakOffRemoval(spec: ImageSpec): void {
    const image = this.image(spec, 'remove');
    const { images, halfRemoved } = this.namespace(spec, 'remove');
    images.delete(spec.image);
    halfRemoved.set(spec.image, image);
  }

  /** Everything there is, a line each, sorted: images, their snapshots and metadata, the trash. */
  everything(): string[] {
    const lines: string[] = [];
    for (const { where, images, trash, halfRemoved } of this.#namespaces()) {
      for (const image of images.values()) lines.push(...describe(`${where}/${image.name}`, image));
      for (const image of trash.values()) lines.push(...describe(`trash of ${where}: ${image.name}`, image));
      for (const name of halfRemoved.keys()) lines.push(`half removed: ${where}/${name}`);
    }
    return lines.toSorted();
  }

  /** The same text for clusters that are in the same state, as far as anybody can see. */
  fingerprint(): string {
    const contents = [...this.allImages()].map(({ id, name, head, sizeBytes, metadata, snapshots }) => [
      id,
      name,
      head.sha256(Number(sizeBytes)),
      [...metadata].map(([key, value]) => `${key}=${value}`).toSorted(),
      snapshots.map((each) => [each.id, each.name, each.content.sha256(Number(each.sizeBytes))]),
    ]);
    return JSON.stringify([this.everything(), contents.map((each) => JSON.stringify(each)).toSorted()]);
  }

  /** Addresses and the like of everything that is open, which should be nothing when all is done. */
  allWatchers(): string[] {
    return [...this.allImages()].flatMap((image) => [...image.watchers].map((address) => `${image.name}: ${address}`));
  }

  *#namespaces() {
    for (const [pool, { namespaces }] of this.pools)
      for (const [name, namespace] of namespaces) {
        const { images, trash, halfRemoved } = namespace;
        yield { where: formatPoolSpec({ pool, namespace: name }), images, trash, halfRemoved };
      }
  }
}

const describe = (name: string, { snapshots, metadata }: FakeImage): string[] => [
  name,
  ...snapshots.map((snapshot) => `${name}@${describeSnapshot(snapshot)}`),
  ...[...metadata.keys()].map((key) => `${name} ${key}`),
];

const describeSnapshot = ({ name, hidden }: FakeSnapshot): string => (hidden ? `${name} (hidden)` : name);
