import type { ImageLayout } from '@rbdferry/core/ceph/port.js';
import { parseImageSpec, type ImageSpec } from '@rbdferry/core/model/image-spec.js';
import { fakeCeph } from '../fake-ceph/fake-ceph.js';
import { FakeCluster } from '../fake-ceph/fake-cluster.js';

const MiB = 1024 * 1024;
const plain: ImageLayout = {
  sizeBytes: BigInt(MiB),
  objectSizeBytes: 64 * 1024,
  stripeUnitBytes: 64 * 1024,
  stripeCount: 1,
  features: ['exclusive-lock', 'fast-diff', 'layering', 'object-map'],
  dataPool: null,
};

/** A cluster in memory as its operator sees it: everything by specs such as `rbd/vm1` and `rbd/vm1@snap`, as on a command line. */
export class Site {
  readonly cluster: FakeCluster;
  /** The operator's own client. */
  readonly ceph;

  constructor(...pools: string[]) {
    this.cluster = new FakeCluster(...pools);
    this.ceph = fakeCeph(this.cluster);
  }

  get fsid(): string {
    return this.cluster.fsid;
  }

  /** Makes an image of 1 MiB, unless the layout says otherwise. */
  create(image: string, layout: Partial<ImageLayout> = {}): Promise<void> {
    return this.ceph.create(imageOf(image), { ...plain, ...layout });
  }

  write(image: string, offset: number, bytes: Uint8Array): void {
    this.cluster.write(imageOf(image), offset, bytes);
  }

  /** SHA-256, in hex, of the whole content of an image, a snapshot or a backup. */
  sha256(spec: string): string {
    const { image, snap } = refOf(spec);
    return this.cluster.sha256(image, snap);
  }

  /** Names of an image's snapshots, oldest first. */
  async snapNames(image: string): Promise<string[]> {
    return (await this.ceph.snapshots(imageOf(image))).map(({ name }) => name);
  }

  /** Names of the images in a pool. */
  imageNames(pool: string): Promise<string[]> {
    return this.ceph.list({ pool, namespace: '' });
  }

  addSnapshot(spec: string): void {
    const { image, snap = '' } = refOf(spec);
    this.cluster.addSnapshot(image, snap);
  }

  protect(spec: string, isProtected = true): void {
    const { image, snap = '' } = refOf(spec);
    this.cluster.setProtected(image, snap, isProtected);
  }

  rename(from: string, to: string): Promise<void> {
    return this.ceph.rename(imageOf(from), imageOf(to));
  }

  /** Removes an image with its snapshots. */
  async remove(image: string): Promise<void> {
    const spec = imageOf(image);
    for (const { name } of await this.ceph.snapshots(spec)) await this.ceph.removeSnapshot(spec, name);
    await this.ceph.remove(spec);
  }

  /** Entries of a pool's trash. */
  trash(pool: string) {
    return this.ceph.trash({ pool, namespace: '' });
  }

  /** Bytes of data between a backup and the one before it in its chain, as the cluster counts them. */
  async addedBytes(backup: string, before?: string): Promise<number> {
    const { image, snap = '' } = refOf(backup);
    const fromSnap = before === undefined ? null : (refOf(before).snap ?? '');
    return Number((await this.ceph.diffExtents(image, { snap, fromSnap })).dataBytes);
  }
}

/** @throws when it is none */
export const imageOf = (text: string): ImageSpec => {
  const parsed = parseImageSpec(text);
  if (!parsed.ok) throw new Error(`${text}: ${parsed.problem}`);
  return parsed.value;
};

const refOf = (text: string): { image: ImageSpec; snap?: string } => {
  const at = text.indexOf('@');
  return at < 0 ? { image: imageOf(text) } : { image: imageOf(text.slice(0, at)), snap: text.slice(at + 1) };
};

export const chainOf = (id: string): string => id.slice(0, id.indexOf('@'));
export const snapOf = (id: string): string => id.slice(id.indexOf('@') + 1);
