import type { FileHandle } from 'node:fs/promises';
import type { PartialFile } from './partial-file.js';
import type { Extent, RawTarget } from './raw-target.js';

/** A sparse raw file: what the image has no data for stays a hole. */
export class FileTarget implements RawTarget {
  readonly #partial: PartialFile;
  readonly #publish: () => Promise<void>;
  /** Null before the file is made, and when it is closed. */
  #opening: Promise<FileHandle> | null = null;

  /** @param publish what makes the whole file known; it may make another one of it */
  constructor(partial: PartialFile, publish: () => Promise<void> = () => partial.publish()) {
    this.#partial = partial;
    this.#publish = publish;
  }

  async begin(sizeBytes: number): Promise<void> {
    const opening = this.#partial.create();
    this.#opening = opening;
    const file = await opening;
    await this.#partial.tried(() => file.truncate(sizeBytes));
  }

  async write(extents: readonly Extent[]): Promise<void> {
    const file = await this.#opening;
    if (file === null) return;
    // Small extents cost a turn of the thread pool each, so they go side by side; all have ended when this does.
    const writes = await Promise.allSettled(extents.map((extent) => writeWhole(file, extent)));
    const failed = writes.find((each) => each.status === 'rejected');
    if (failed !== undefined) await this.#partial.tried(() => Promise.reject(failed.reason as Error));
  }

  async finish(): Promise<void> {
    await this.#close();
    await this.#publish();
  }

  async discard(): Promise<void> {
    await this.#close().catch(() => {});
    await this.#partial.remove();
  }

  /** Waits for what is under way: what is opened, or written, after the file was removed would come back. */
  async #close(): Promise<void> {
    const opening = this.#opening;
    this.#opening = null;
    const file = await opening;
    if (file !== null) await this.#partial.tried(() => file.close());
  }
}

/** A file may take a part only, as when the disk becomes full: the next write says why. */
const writeWhole = async (file: FileHandle, { offset, bytes }: Extent): Promise<void> => {
  for (let done = 0; done < bytes.length;) {
    const { bytesWritten } = await file.write(bytes, done, bytes.length - done, offset + done);
    done += bytesWritten;
  }
};
