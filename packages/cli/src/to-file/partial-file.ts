import { randomBytes } from 'node:crypto';
import { unlinkSync } from 'node:fs';
import { link, lstat, open, realpath, rename, stat, unlink, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import { FerryError } from '@rbdferry/core/errors/ferry-error.js';
import { codeOf, writeFailure } from './failure.js';

export interface Destination {
  readonly path: string;
  /** The permissions of the file that is replaced; null when none is. */
  readonly mode: number | null;
}

const nothingLeft = 'nothing is left of it';

/**
 * Where a file is to be made. What is there is replaced only when that was asked for, and only when it is a file: nobody means to put a file in
 * the place of a directory or of a device. A symbolic link stays, and what it points to is replaced.
 *
 * @throws INVALID_REQUEST
 */
export const destinationFor = async (path: string, isReplaced: boolean): Promise<Destination> => {
  const there = await stat(path).catch(() => null);
  if (there === null) {
    // A link that points to nothing has its name all the same.
    if ((await lstat(path).catch(() => null)) !== null) throw exists(path);
    return { path, mode: null };
  }
  if (!there.isFile()) throw new FerryError('INVALID_REQUEST', `${JSON.stringify(path)} is there and is no file`);
  if (!isReplaced) throw exists(path);
  return { path: await realpath(path), mode: there.mode & 0o7777 };
};

const exists = (path: string): FerryError =>
  new FerryError('INVALID_REQUEST', `the file ${JSON.stringify(path)} exists`, {
    hint: 'name another one, or replace it with --replace',
  });

/** Unfinished files of this process: for an end that waits for nothing. */
const unfinished = new Set<string>();

/** Removes what is unfinished, before the process ends at once. */
export const removeUnfinished = (): void => {
  for (const path of unfinished) {
    try {
      unlinkSync(path);
    } catch {
      // It is gone, or nothing can be done about it any more.
    }
  }
  unfinished.clear();
};

/**
 * A file that is made beside the one that it becomes, so that nobody ever takes a part for the whole.
 *
 * If we die here: a process that is killed leaves `PATH.rbdferry-partial-XXXXXXXX`, which nobody needs.
 */
export class PartialFile {
  readonly path: string;
  readonly #destination: Destination;

  constructor(destination: Destination) {
    this.#destination = destination;
    this.path = `${destination.path}.rbdferry-partial-${randomBytes(4).toString('hex')}`;
    unfinished.add(this.path);
  }

  /** @throws OUTPUT_FAILED */
  async create(): Promise<FileHandle> {
    return this.tried(() => open(this.path, 'wx'));
  }

  /** What is written is on the disk, and the file has its name, in one step. @throws OUTPUT_FAILED, INVALID_REQUEST when there is a file by now */
  async publish(): Promise<void> {
    const { path, mode } = this.#destination;
    await this.tried(async () => {
      const file = await open(this.path, 'r+');
      try {
        if (mode !== null) await file.chmod(mode);
        await file.sync();
      } finally {
        await file.close();
      }
    });
    if (mode === null) await this.#takeFreeName(path);
    else await this.tried(() => rename(this.path, path));
    unfinished.delete(this.path);
    await syncDirectory(dirname(path));
  }

  /** Never rejects. */
  async remove(): Promise<void> {
    await unlink(this.path).catch(() => {});
    unfinished.delete(this.path);
  }

  /** @throws OUTPUT_FAILED for what the step throws */
  async tried<T>(step: () => Promise<T>): Promise<T> {
    try {
      return await step();
    } catch (thrown) {
      throw writeFailure(JSON.stringify(this.#destination.path), thrown, nothingLeft);
    }
  }

  /** A rename would replace what somebody has made meanwhile. */
  async #takeFreeName(path: string): Promise<void> {
    try {
      await link(this.path, path);
    } catch (thrown) {
      if (codeOf(thrown) === 'EEXIST') throw exists(path);
      // A file system without links.
      if ((await lstat(path).catch(() => null)) !== null) throw exists(path);
      await this.tried(() => rename(this.path, path));
      return;
    }
    await unlink(this.path).catch(() => {});
  }
}

/** The name is on the disk as well. Where a directory cannot be opened for that, it is as with any other program. */
const syncDirectory = async (path: string): Promise<void> => {
  const directory = await open(path, 'r').catch(() => null);
  await directory?.sync().catch(() => {});
  await directory?.close().catch(() => {});
};
