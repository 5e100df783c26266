import { FerryError } from '../../errors/ferry-error.js';
import type { MetadataEntry } from '../../model/image-meta.js';
import {
  formatImageSpec,
  formatPoolSpec,
  type ImageRef,
  type ImageSpec,
  type PoolSpec,
} from '../../model/image-spec.js';
import { named, namedSnap, noImage, requireMetadataValue } from '../naming.js';
import {
  type ByteSink,
  type ByteSource,
  type CallOptions,
  type CephPort,
  type DiffExtents,
  type DiffRange,
  type ImageInfo,
  type ImageLayout,
  type ImageListing,
  type Snapshot,
  type TransferCallOptions,
  type TrashEntry,
} from '../port.js';
import { whileSpace, type AskForSpace } from '../pool-space.js';
import type { Asked } from './librbd-errors.js';
import type { LibrbdHelper } from './librbd-helper.js';
import { Looks } from './looks.js';
import type { Verb, Verbs } from './protocol.js';

export interface LibrbdCephOptions {
  readonly helper: LibrbdHelper;
  /** Does what librbd is not used for: streams, and what is seldom. */
  readonly cli: CephPort;
  /** Whether a pool is full: the question to ask while a write to it takes long. */
  readonly askForSpace: (asked: Asked, pool: string) => AskForSpace;
  /** How long a write may take before that is asked, in milliseconds. */
  readonly fullMs: number;
}

/** The port to a cluster through librbd, in a helper of its own, and through the `rbd` program for streams and what is seldom. */
export class LibrbdCeph implements CephPort {
  readonly #options: LibrbdCephOptions;
  readonly #helper: LibrbdHelper;
  readonly #cli: CephPort;
  readonly #looks: Looks;
  #fsid: string | null = null;

  constructor(options: LibrbdCephOptions) {
    this.#options = options;
    this.#helper = options.helper;
    this.#cli = options.cli;
    this.#looks = new Looks(options.helper);
  }

  /** When it is asked again, then by the `ceph` program: that shows whether a new process gets at the cluster. */
  async fsid(options: CallOptions & { readonly isAsked?: boolean } = {}): Promise<string> {
    if (options.isAsked === true) await this.#cli.fsid(options);
    this.#fsid ??= await this.#helper.fsid({ what: "ask for the cluster's fsid" });
    return this.#fsid;
  }

  async info(image: ImageRef, options?: CallOptions): Promise<ImageInfo> {
    return this.#looks.look('info', { image, snap: null }, { what: `read ${named(image)}` }, options);
  }

  async infoAt(image: ImageRef, snap: string, options?: CallOptions): Promise<ImageInfo> {
    return this.#looks.look('info', { image, snap }, { what: `read ${namedSnap(image, snap)}` }, options);
  }

  list(where: PoolSpec, options?: CallOptions): Promise<string[]> {
    return this.#helper.call('list', where, { what: `list the images of "${formatPoolSpec(where)}"` }, options);
  }

  listWithSnapshots(where: PoolSpec, options?: CallOptions): Promise<ImageListing[]> {
    const what = `list the images and snapshots of "${formatPoolSpec(where)}"`;
    return this.#helper.call('listLong', where, { what }, { ...options, long: true });
  }

  async snapshots(image: ImageRef, options?: CallOptions): Promise<Snapshot[]> {
    const asked = { what: `list the snapshots of ${named(image)}` };
    return this.#looks.look('snapshots', { image, snap: null }, asked, options);
  }

  /** Nearly none has any; what they are, and what is left of removals that were broken off, the other adapter knows. */
  async hiddenSnapshots(image: ImageSpec, options?: CallOptions): Promise<string[]> {
    const hides = await this.#helper.call(
      'hidesSnapshots',
      image,
      { what: `list all snapshots of ${named(image)}` },
      options,
    );
    return hides ? this.#cli.hiddenSnapshots(image, options) : [];
  }

  clones(image: ImageSpec, snap: string, options?: CallOptions): Promise<string[]> {
    return this.#cli.clones(image, snap, options);
  }

  headMayDiffer(image: ImageSpec, snap: string, options?: CallOptions): Promise<boolean> {
    const what = `compare ${named(image)} with its snapshot "${snap}"`;
    return this.#helper.call('headMayDiffer', { image, snap }, { what }, { ...options, long: true });
  }

  create(image: ImageSpec, layout: ImageLayout, options?: CallOptions): Promise<void> {
    return this.#cli.create(image, layout, options);
  }

  async createSnapshot(image: ImageSpec, snap: string, options?: CallOptions): Promise<void> {
    const meanings = { exists: 'SNAPSHOT_EXISTS', quota: 'SNAPSHOT_LIMIT' } as const;
    const asked = { what: `create snapshot ${namedSnap(image, snap)}`, meanings };
    await this.#write('createSnapshot', { image, snap }, asked, { pool: image.pool, ...options });
  }

  async removeSnapshot(image: ImageRef, snap: string, options?: CallOptions): Promise<boolean> {
    const asked = { what: `remove snapshot ${namedSnap(image, snap)}`, meanings: { busy: 'CEPH_FAILED' } as const };
    const isRemoved = await this.#helper.call('removeSnapshot', { image, snap }, asked, options);
    // What is left of a removal that was broken off is seldom, and known to the other adapter.
    return isRemoved || this.#cli.removeSnapshot(image, snap, options);
  }

  rollback(image: ImageSpec, snap: string, options?: CallOptions): Promise<void> {
    return this.#cli.rollback(image, snap, options);
  }

  async metadata(image: ImageSpec, options?: CallOptions): Promise<Map<string, string>> {
    const asked = { what: `read the metadata of ${named(image)}` };
    const entries = await this.#looks.look('metadata', { image, snap: null }, asked, options);
    return new Map(entries.map(([key, value]) => [text(key), text(value)]));
  }

  async metadataEntries(image: ImageSpec, imageId: string, options?: CallOptions): Promise<MetadataEntry[]> {
    // An image of format 1 has no image-meta.
    if (imageId === '') return [];
    const { pool, namespace } = image;
    const asked = { what: `read the header of ${named(image)}`, meanings: noImage };
    const entries = await this.#helper.call('metadataEntries', { pool, namespace, imageId }, asked, options);
    return entries.map(([key, value]) => ({ key: Buffer.from(key), value: Buffer.from(value) }));
  }

  async setMetadata(image: ImageSpec, key: string, value: string, options?: CallOptions): Promise<void> {
    const what = `set metadata "${key}" of ${named(image)}`;
    requireMetadataValue(what, value);
    await this.#write('setMetadata', { image, key, value }, { what }, { pool: image.pool, ...options });
  }

  removeMetadata(image: ImageSpec, key: string, options?: CallOptions): Promise<boolean> {
    const what = `remove metadata "${key}" of ${named(image)}`;
    return this.#write('removeMetadata', { image, key }, { what }, { pool: image.pool, ...options });
  }

  async watchers(image: ImageSpec, options?: CallOptions): Promise<string[]> {
    return this.#looks.look('watchers', { image, snap: null }, { what: `see who uses ${named(image)}` }, options);
  }

  liveImport(image: ImageSpec, options?: CallOptions): Promise<boolean> {
    return this.#cli.liveImport(image, options);
  }

  remove(image: ImageSpec, options?: CallOptions): Promise<boolean> {
    return this.#cli.remove(image, options);
  }

  prepareRemovals(where: PoolSpec, options?: CallOptions): Promise<void> {
    return this.#cli.prepareRemovals(where, options);
  }

  /** The watchers are looked at first because librbd takes an image away from under its users. */
  async moveToTrash(image: ImageSpec, expiresAt: Date, options?: CallOptions): Promise<void> {
    const what = `move ${named(image)} to the trash`;
    const watchers = await this.watchers(image, options);
    if (watchers.length > 0) {
      throw new FerryError('IMAGE_IN_USE', `cannot ${what}: it is in use by ${watchers.join(', ')}`);
    }
    const delaySeconds = Math.max(0, Math.ceil((expiresAt.getTime() - Date.now()) / 1000));
    const asked = { what, meanings: { busy: 'IMAGE_IN_USE' } as const };
    await this.#write('trashMove', { image, delaySeconds }, asked, { pool: image.pool, ...options });
  }

  trash(where: PoolSpec, options?: CallOptions): Promise<TrashEntry[]> {
    return this.#helper.call('trashList', where, { what: `list the trash of "${formatPoolSpec(where)}"` }, options);
  }

  async restoreFromTrash(imageId: string, to: ImageSpec, options?: CallOptions): Promise<void> {
    const asked = { what: `restore ${named(to)} from the trash`, meanings: { exists: 'IMAGE_EXISTS' } as const };
    await this.#write('trashRestore', { imageId, to }, asked, { pool: to.pool, ...options });
  }

  async rename(from: ImageSpec, to: ImageSpec, options?: CallOptions): Promise<void> {
    const asked = {
      what: `rename ${named(from)} to "${formatImageSpec(to)}"`,
      meanings: { exists: 'IMAGE_EXISTS' } as const,
    };
    await this.#write('rename', { from, to: to.image }, asked, { pool: to.pool, ...options });
  }

  exportDiff(image: ImageSpec, diff: DiffRange, options?: TransferCallOptions): ByteSource {
    return this.#cli.exportDiff(image, diff, options);
  }

  importDiff(image: ImageSpec, options?: TransferCallOptions): ByteSink {
    return this.#cli.importDiff(image, options);
  }

  diffExtents(image: ImageSpec, range: DiffRange, options?: CallOptions): Promise<DiffExtents> {
    const from = range.fromSnap === null ? 'nothing' : `"@${range.fromSnap}"`;
    const what = `compare ${namedSnap(image, range.snap)} with ${from}`;
    return this.#helper.call('diffExtents', { image, range }, { what }, { ...options, long: true });
  }

  /** A write: on a full pool it would wait for ever. */
  #write<V extends Verb>(
    verb: V,
    ask: Verbs[V]['ask'],
    asked: Asked,
    { pool, signal }: CallOptions & { readonly pool: string },
  ): Promise<Verbs[V]['answer']> {
    return whileSpace(
      (until) => this.#helper.call(verb, ask, asked, { signal: until }),
      this.#options.askForSpace(asked, pool),
      { afterMs: this.#options.fullMs, signal },
    );
  }
}

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString('utf8');
