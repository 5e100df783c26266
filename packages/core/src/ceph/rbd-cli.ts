import { FerryError, toFerryError } from '../errors/ferry-error.js';
import type { MetadataEntry } from '../model/image-meta.js';
import { formatImageSpec, formatPoolSpec, type ImageRef, type ImageSpec, type PoolSpec } from '../model/image-spec.js';
import { destArgs, expiryArg, imageArgs, layoutArgs, poolArgs, rangeArgs, snapArgs, writeCacheArgs } from './argv.js';
import { ExtentSum } from './diff-extents.js';
import { exportSource } from './export-source.js';
import { hedge } from './hedge.js';
import { ImportSink } from './import-sink.js';
import { named, namedSnap, noImage, requireMetadataValue } from './naming.js';
import { parseOmapMetadata } from './omap-metadata.js';
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
} from './port.js';
import { RbdRunner, type RbdCliOptions, type PoolSpace } from './rbd-runner.js';
import { PoolSpaceSink } from './pool-space-sink.js';
import * as schemas from './schemas.js';

export type { Deadlines, RbdCliOptions } from './rbd-runner.js';

/** The port to a cluster through its own programs, `rbd`, `ceph` (for the fsid, and to see whether a pool is full) and `rados`. Starts nothing by itself. */
export const createRbdCli = (options: RbdCliOptions): CephPort => new RbdCli(options);

class RbdCli implements CephPort {
  readonly #rbd: RbdRunner;
  #fsid: string | null = null;

  constructor(options: RbdCliOptions) {
    this.#rbd = new RbdRunner(options);
  }

  async fsid(options?: CallOptions & { readonly isAsked?: boolean }): Promise<string> {
    if (this.#fsid !== null && options?.isAsked !== true) return this.#fsid;
    const request = { what: "ask for the cluster's fsid", args: ['fsid'] };
    this.#fsid = schemas.parseFsid(await this.#rbd.text(this.#rbd.cephCall(request), request, options));
    return this.#fsid;
  }

  info(image: ImageRef, options?: CallOptions): Promise<ImageInfo> {
    const args = ['info', ...imageArgs(image)];
    return this.#rbd.read(schemas.infoSchema, { what: `read ${named(image)}`, args, meanings: noImage }, options);
  }

  infoAt(image: ImageRef, snap: string, options?: CallOptions): Promise<ImageInfo> {
    const meanings = { missing: 'SNAPSHOT_NOT_FOUND' } as const;
    const args = ['info', ...snapArgs(image, snap)];
    return this.#rbd.read(schemas.infoSchema, { what: `read ${namedSnap(image, snap)}`, args, meanings }, options);
  }

  list(where: PoolSpec, options?: CallOptions): Promise<string[]> {
    const what = `list the images of "${formatPoolSpec(where)}"`;
    return this.#rbd.read(schemas.namesSchema, { what, args: ['ls', ...poolArgs(where)] }, options);
  }

  /** Leaves out images that vanish meanwhile, and those whose removal was interrupted, which only `list` shows. */
  listWithSnapshots(where: PoolSpec, options?: CallOptions): Promise<ImageListing[]> {
    const what = `list the images and snapshots of "${formatPoolSpec(where)}"`;
    const args = ['ls', '--long', this.#rbd.concurrencyArg, ...poolArgs(where)];
    return this.#rbd.read(schemas.listingSchema, { what, args, meanings: noImage, long: true, partial: true }, options);
  }

  snapshots(image: ImageRef, options?: CallOptions): Promise<Snapshot[]> {
    const what = `list the snapshots of ${named(image)}`;
    const args = ['snap', 'ls', ...imageArgs(image)];
    return this.#rbd.read(schemas.snapshotsSchema, { what, args, meanings: noImage }, options);
  }

  async hiddenSnapshots(image: ImageSpec, options?: CallOptions): Promise<string[]> {
    const kept: string[] = [];
    for (const { id, name, type, removedName } of await this.#hidden(image, options)) {
      if (removedName === null) kept.push(`"${name}" (${type})`);
      else if (!(await this.#removeHidden(image, id, options)))
        kept.push(`"${removedName}", which was removed but has a clone`);
    }
    return kept;
  }

  #hidden(image: ImageRef, options?: CallOptions): Promise<schemas.HiddenSnapshot[]> {
    const what = `list all snapshots of ${named(image)}`;
    const args = ['snap', 'ls', '--all', ...imageArgs(image)];
    return this.#rbd.read(schemas.hiddenSnapshotsSchema, { what, args, meanings: noImage }, options);
  }

  /** `rbd children` looks for names in the pools of the clones, and fails as a whole where it may not: then there is at least one. */
  async clones(image: ImageSpec, snap: string, options?: CallOptions): Promise<string[]> {
    const what = `list the clones of ${namedSnap(image, snap)}`;
    const args = ['children', ...snapArgs(image, snap)];
    const meanings = { missing: 'SNAPSHOT_NOT_FOUND' } as const;
    try {
      return await this.#rbd.read(schemas.clonesSchema, { what, args, meanings }, options);
    } catch (thrown) {
      if (toFerryError(thrown).code !== 'CEPH_PERMISSION') throw thrown;
      return ['an image in a pool that the CephX user may not see'];
    }
  }

  async headMayDiffer(image: ImageSpec, snap: string, options?: CallOptions): Promise<boolean> {
    const what = `compare ${named(image)} with its snapshot "${snap}"`;
    const args = ['diff', '--whole-object', ...imageArgs(image), `--from-snap=${snap}`];
    const meanings = { missing: 'SNAPSHOT_NOT_FOUND' } as const;
    const extents = await this.#rbd.read(schemas.extentsSchema, { what, args, meanings, long: true }, options);
    return extents.length > 0;
  }

  create(image: ImageSpec, layout: ImageLayout, options?: CallOptions): Promise<void> {
    const args = ['create', '--no-progress', ...imageArgs(image), ...layoutArgs(image, layout)];
    const meanings = { exists: 'IMAGE_EXISTS' } as const;
    const { dataPool } = layout;
    const writesTo = { pool: image.pool, dataPool: () => Promise.resolve(dataPool) };
    return this.#rbd.change({ what: `create ${named(image)}`, args, meanings, writesTo }, options);
  }

  createSnapshot(image: ImageSpec, snap: string, options?: CallOptions): Promise<void> {
    const args = ['snap', 'create', '--no-progress', ...snapArgs(image, snap)];
    const meanings = { ...noImage, exists: 'SNAPSHOT_EXISTS', quota: 'SNAPSHOT_LIMIT' } as const;
    const what = `create snapshot ${namedSnap(image, snap)}`;
    return this.#rbd.change({ what, args, meanings, writesTo: { pool: image.pool } }, options);
  }

  /**
   * The first step of `rbd snap rm` hides the snapshot, the next ones give up its data: a command that was killed in between leaves a
   * hidden one for good, which also keeps the image from being removed (16.2.15).
   */
  async removeSnapshot(image: ImageRef, snap: string, options?: CallOptions): Promise<boolean> {
    const args = ['snap', 'rm', '--no-progress', ...snapArgs(image, snap)];
    const meanings = { missing: 'SNAPSHOT_NOT_FOUND' } as const;
    const what = `remove snapshot ${namedSnap(image, snap)}`;
    if (await this.#rbd.changeUnlessAbsent({ what, args, meanings }, options)) return true;
    let finished = false;
    for (const hidden of await this.#hiddenOrNone(image, options)) {
      if (hidden.removedName === snap && (await this.#removeHidden(image, hidden.id, options))) finished = true;
    }
    return finished;
  }

  async #hiddenOrNone(image: ImageRef, options?: CallOptions): Promise<schemas.HiddenSnapshot[]> {
    try {
      return await this.#hidden(image, options);
    } catch (thrown) {
      if (toFerryError(thrown).code === 'IMAGE_NOT_FOUND') return [];
      throw thrown;
    }
  }

  /** Answers false when a clone still needs it. */
  async #removeHidden(image: ImageRef, id: number, options?: CallOptions): Promise<boolean> {
    const what = `finish the removal of snapshot ${id} of ${named(image)}`;
    // With `--no-progress` as well it says that there are too many arguments (16.2.15).
    const args = ['snap', 'rm', ...imageArgs(image), `--snap-id=${id}`];
    const meanings = { missing: 'SNAPSHOT_NOT_FOUND', busy: 'IMAGE_IN_USE' } as const;
    try {
      return await this.#rbd.changeUnlessAbsent({ what, args, meanings }, options);
    } catch (thrown) {
      const { code, message } = toFerryError(thrown);
      // It is "busy" for a clone of format 2, and rbd calls it protected then (16.2.15).
      if (code === 'IMAGE_IN_USE' || message.includes('is protected from removal')) return false;
      throw thrown;
    }
  }

  rollback(image: ImageSpec, snap: string, options?: CallOptions): Promise<void> {
    const args = ['snap', 'rollback', this.#rbd.concurrencyArg, ...snapArgs(image, snap)];
    const meanings = { missing: 'SNAPSHOT_NOT_FOUND', busy: 'IMAGE_IN_USE' } as const;
    const what = `roll back to ${namedSnap(image, snap)}`;
    return this.#rbd.change({ what, args, meanings, long: true, writesTo: this.#spaceFor(image) }, options);
  }

  /**
   * `rbd image-meta list` opens the image for writing and so waits for ever on a full pool, where one wants to see what to
   * delete; and what it prints is no JSON when a key holds a quote or a newline. The header object can be read then.
   */
  metadata(image: ImageSpec, { signal }: CallOptions = {}): Promise<Map<string, string>> {
    const what = `read the metadata of ${named(image)}`;
    const args = ['image-meta', 'list', ...imageArgs(image)];
    return hedge(
      async (signal) => {
        const text = await this.#rbd.json({ what, args, meanings: noImage }, { signal });
        return schemas.metadataIn(text) ?? (await this.#metadataInHeader(image, { signal }));
      },
      (signal) => this.#metadataInHeader(image, { signal }),
      { afterMs: this.#rbd.deadlines.metadataMs, signal },
    );
  }

  async #metadataInHeader(image: ImageSpec, options: CallOptions): Promise<Map<string, string>> {
    const { id } = await this.info(image, options);
    const entries = await this.metadataEntries(image, id, options);
    const text = (bytes: Uint8Array) => Buffer.from(bytes).toString('utf8');
    return new Map(entries.map(({ key, value }) => [text(key), text(value)]));
  }

  async metadataEntries(image: ImageSpec, imageId: string, options?: CallOptions): Promise<MetadataEntry[]> {
    // An image of format 1 has no image-meta.
    if (imageId === '') return [];
    const what = `read the header of ${named(image)}`;
    const args = [...poolArgs(image), 'listomapvals', `rbd_header.${imageId}`];
    const request = { what, args, meanings: noImage };
    return parseOmapMetadata(await this.#rbd.text(this.#rbd.radosCall(request), request, options));
  }

  async setMetadata(image: ImageSpec, key: string, value: string, options?: CallOptions): Promise<void> {
    const what = `set metadata "${key}" of ${named(image)}`;
    requireMetadataValue(what, value);
    const args = ['image-meta', 'set', ...imageArgs(image), '--', key, value];
    await this.#rbd.change({ what, args, meanings: noImage, writesTo: { pool: image.pool } }, options);
  }

  removeMetadata(image: ImageSpec, key: string, options?: CallOptions): Promise<boolean> {
    const args = ['image-meta', 'rm', ...imageArgs(image), '--', key];
    const what = `remove metadata "${key}" of ${named(image)}`;
    // No removal for Ceph: it opens the image for writing, and waits on a full pool.
    return this.#rbd.changeUnlessAbsent({ what, args, writesTo: { pool: image.pool } }, options);
  }

  watchers(image: ImageSpec, options?: CallOptions): Promise<string[]> {
    const what = `see who uses ${named(image)}`;
    const args = ['status', ...imageArgs(image)];
    return this.#rbd.read(schemas.watchersSchema, { what, args, meanings: noImage }, options);
  }

  liveImport(image: ImageSpec, options?: CallOptions): Promise<boolean> {
    const what = `see whether ${named(image)} is being imported`;
    const args = ['status', ...imageArgs(image)];
    return this.#rbd.read(schemas.liveImportSchema, { what, args, meanings: noImage }, options);
  }

  remove(image: ImageSpec, options?: CallOptions): Promise<boolean> {
    // Where the configuration says that removed images go to the trash, nothing would be freed.
    const toTrash = '--rbd-move-to-trash-on-remove=false';
    const args = ['rm', this.#rbd.concurrencyArg, toTrash, ...imageArgs(image)];
    const meanings = { ...noImage, busy: 'IMAGE_IN_USE' } as const;
    return this.#rbd.changeUnlessAbsent({ what: `remove ${named(image)}`, args, meanings, long: true }, options);
  }

  /** `rbd rm` puts the image into the trash first, whose directory is this object. Its name is part of RBD's format on disk. */
  async prepareRemovals(where: PoolSpec, options?: CallOptions): Promise<void> {
    const what = `make the trash of "${formatPoolSpec(where)}"`;
    const request = { what, args: [...poolArgs(where), 'create', 'rbd_trash'], writesTo: { pool: where.pool } };
    try {
      await this.#rbd.change(request, options, this.#rbd.radosCall(request));
    } catch (thrown) {
      // `rados` has one exit status for everything.
      if (!toFerryError(thrown).message.includes('(17) File exists')) throw thrown;
    }
  }

  /** The watchers are looked at first because `rbd trash move` (16.2.15) takes an image away from under its users. */
  async moveToTrash(image: ImageSpec, expiresAt: Date, options?: CallOptions): Promise<void> {
    const what = `move ${named(image)} to the trash`;
    const watchers = await this.watchers(image, options);
    if (watchers.length > 0) {
      throw new FerryError('IMAGE_IN_USE', `cannot ${what}: it is in use by ${watchers.join(', ')}`);
    }
    const args = ['trash', 'mv', ...imageArgs(image), expiryArg(expiresAt)];
    const meanings = { ...noImage, busy: 'IMAGE_IN_USE' } as const;
    await this.#rbd.change({ what, args, meanings, writesTo: { pool: image.pool } }, options);
  }

  trash(where: PoolSpec, options?: CallOptions): Promise<TrashEntry[]> {
    const what = `list the trash of "${formatPoolSpec(where)}"`;
    return this.#rbd.read(schemas.trashSchema, { what, args: ['trash', 'ls', ...poolArgs(where)] }, options);
  }

  restoreFromTrash(imageId: string, to: ImageSpec, options?: CallOptions): Promise<void> {
    const args = ['trash', 'restore', `--image-id=${imageId}`, ...imageArgs(to)];
    const meanings = { ...noImage, exists: 'IMAGE_EXISTS' } as const;
    const what = `restore ${named(to)} from the trash`;
    return this.#rbd.change({ what, args, meanings, writesTo: { pool: to.pool } }, options);
  }

  rename(from: ImageSpec, to: ImageSpec, options?: CallOptions): Promise<void> {
    const args = ['rename', ...imageArgs(from), ...destArgs(to)];
    const meanings = { ...noImage, exists: 'IMAGE_EXISTS' } as const;
    const what = `rename ${named(from)} to "${formatImageSpec(to)}"`;
    return this.#rbd.change({ what, args, meanings, writesTo: { pool: to.pool } }, options);
  }

  exportDiff(image: ImageSpec, diff: DiffRange, { signal, onAlive }: TransferCallOptions = {}): ByteSource {
    const args = ['export-diff', '--no-progress', this.#rbd.concurrencyArg, ...rangeArgs(image, diff), '--path=-'];
    const call = this.#rbd.rbdCall({ what: `export ${namedSnap(image, diff.snap)}`, args });
    return exportSource(call, { killGraceMs: this.#rbd.deadlines.killGraceMs, signal, onAlive });
  }

  importDiff(image: ImageSpec, { signal, onAlive }: TransferCallOptions = {}): ByteSink {
    const args = ['import-diff', '--no-progress', ...writeCacheArgs, '--path=-', ...imageArgs(image)];
    // It waits on a full pool: what has a quota is the number of snapshots.
    const meanings = { ...noImage, quota: 'SNAPSHOT_LIMIT' } as const;
    const call = this.#rbd.rbdCall({ what: `import into ${named(image)}`, args, meanings });
    const { killGraceMs, closeGraceMs, fullMs } = this.#rbd.deadlines;
    const sink = new ImportSink(call, { killGraceMs, closeGraceMs, signal, onAlive, fence: this.#rbd.fence });
    return new PoolSpaceSink(sink, this.#rbd.askForSpace(call, this.#spaceFor(image)), { afterMs: fullMs });
  }

  #spaceFor(image: ImageSpec): PoolSpace {
    return { pool: image.pool, dataPool: async (signal) => (await this.info(image, { signal })).dataPool };
  }

  async diffExtents(image: ImageSpec, diff: DiffRange, options?: CallOptions): Promise<DiffExtents> {
    const what = `compare ${namedSnap(image, diff.snap)} with ${diff.fromSnap === null ? 'nothing' : `"@${diff.fromSnap}"`}`;
    const args = ['diff', this.#rbd.concurrencyArg, ...rangeArgs(image, diff)];
    const sum = new ExtentSum(what);
    const request = { what, args, meanings: { missing: 'SNAPSHOT_NOT_FOUND' }, long: true } as const;
    await this.#rbd.stream(request, (chunk) => sum.add(chunk), options);
    return sum.result;
  }
}
