import type { CephPort } from '@rbdferry/core/ceph/port.js';
import { toFerryError } from '@rbdferry/core/errors/ferry-error.js';
import { orThrow } from '@rbdferry/core/errors/parsed.js';
import { parseImageSpec, type ImageSpec } from '@rbdferry/core/model/image-spec.js';
import type { Backup } from '@rbdferry/core/model/chain.js';
import type { BackupId } from '@rbdferry/core/model/backup-id.js';
import type { JobStore } from './job-store.js';
import type { DeletionEnd, KeptLooseEnd, LooseEnd } from './job.js';

/** How a loose end came out. */
export type Settled =
  /** The backup was committed after all, or the restore's swap is complete. */
  | { readonly kind: 'completed'; readonly backup: Backup | null }
  /** What was made on the source cluster is gone again. */
  | { readonly kind: 'undone' }
  /** Nothing of it is there, but it may still come: it stays written down and is looked at again. */
  | { readonly kind: 'waiting' };

export interface SettleOptions {
  /** Whether a backup that the receiver has is the one that was sent; any is when it is not known what was sent. */
  readonly accept?: (backup: Backup) => boolean;
  /** What else must be done before it is struck out, so that it is done again should we die meanwhile. */
  readonly beforeClose?: (settled: Settled) => Promise<void>;
}

/** A loose end of a running job. */
export interface LooseEndHandle {
  update(end: LooseEnd): void;
  /** It is as it should be: strike it out. */
  close(): void;
  /**
   * Finds out what became of it, cleans up or completes, and strikes it out.
   *
   * @throws when that cannot be done now; it stays written down
   */
  settle(options?: SettleOptions): Promise<Settled>;
}

export interface SettleDeps {
  readonly ceph: CephPort;
  /** The backup at a receiver; null when the receiver says that there is none. @throws when the receiver cannot say */
  readonly findBackup: (receiver: string, id: BackupId) => Promise<Backup | null>;
  /** Ends a deletion on both sides. @throws when that cannot be done now */
  readonly finishDeletion: (end: DeletionEnd) => Promise<void>;
  /** Milliseconds since 1970. */
  readonly now: () => number;
}

/** A loose end that is no job's: whoever works on it keeps the caretaker off. */
export interface BegunLooseEnd {
  /** It is settled: strike it out. */
  close(): void;
  /** From now on the caretaker may settle it. */
  letGo(): void;
}

/**
 * How long a snapshot that was never seen is looked for, in milliseconds. A guest that hangs, or a client that is stopped, may carry the request
 * out when it goes on.
 */
const watchMs = 24 * 3_600_000;
/** The longest time between two looks for one. */
const maxWaitMs = 600_000;

/** The loose ends of all jobs. */
export class LooseEnds {
  readonly #store: JobStore;
  readonly #deps: SettleDeps;
  readonly #begun = new Set<string>();
  /** When those that wait were looked at last, by their number. */
  readonly #looked = new Map<number, number>();

  constructor(store: JobStore, deps: SettleDeps) {
    this.#store = store;
    this.#deps = deps;
  }

  add(jobId: string, end: LooseEnd): LooseEndHandle {
    return this.#handle({ id: this.#store.addLooseEnd(jobId, end), jobId, end });
  }

  /** One that belongs to no job but to the one that works on it, under this name. */
  begin(name: string, end: LooseEnd): BegunLooseEnd {
    this.#begun.add(name);
    const handle = this.add(name, end);
    return {
      close: () => {
        handle.close();
      },
      letGo: () => {
        this.#begun.delete(name);
      },
    };
  }

  /** Those that may be settled: of earlier jobs and deletions. Those that wait for what may still come are due ever less often. */
  kept(): (KeptLooseEnd & { handle: LooseEndHandle })[] {
    return this.#store
      .looseEnds()
      .filter(({ id, jobId, end }) => !this.#begun.has(jobId) && this.#isDue(id, end))
      .map((kept) => ({ ...kept, handle: this.#handle(kept) }));
  }

  #isDue(id: number, end: LooseEnd): boolean {
    const looked = this.#looked.get(id);
    if (looked === undefined || end.kind !== 'snapshot' || end.unseenSinceMs === undefined) return true;
    return this.#deps.now() - looked >= Math.min(maxWaitMs, (looked - end.unseenSinceMs) / 2);
  }

  #handle(kept: KeptLooseEnd): LooseEndHandle {
    let { end } = kept;
    const close = () => {
      this.#looked.delete(kept.id);
      this.#store.removeLooseEnd(kept.id);
    };
    return {
      update: (next) => {
        this.#store.updateLooseEnd(kept.id, next);
        end = next;
      },
      close,
      settle: async ({ accept = () => true, beforeClose } = {}) => {
        const settled = await settle(end, this.#deps, accept);
        await beforeClose?.(settled);
        if (settled.kind === 'waiting') this.#looked.set(kept.id, this.#deps.now());
        else close();
        return settled;
      },
    };
  }
}

const settle = async (end: LooseEnd, deps: SettleDeps, accept: (backup: Backup) => boolean): Promise<Settled> => {
  switch (end.kind) {
    case 'snapshot':
      return settleSnapshot(end, deps, accept);
    case 'restore':
      return settleRestore(end, deps);
    case 'deletion':
      await deps.finishDeletion(end);
      return { kind: 'completed', backup: null };
  }
};

const settleSnapshot = async (
  end: LooseEnd & { kind: 'snapshot' },
  { ceph, findBackup, now }: SettleDeps,
  accept: (backup: Backup) => boolean,
): Promise<Settled> => {
  const backup = await findBackup(end.receiver, end.backupId);
  if (backup !== null && accept(backup)) return { kind: 'completed', backup };
  const { pool, namespace } = specOf(end.image);
  const removed = await ifExists(ceph.removeSnapshot({ pool, namespace, imageId: end.imageId }, end.snap));
  const mayCome = end.unseenSinceMs !== undefined && now() - end.unseenSinceMs < watchMs;
  return removed !== true && mayCome ? { kind: 'waiting' } : { kind: 'undone' };
};

const settleRestore = async (end: LooseEnd & { kind: 'restore' }, { ceph }: SettleDeps): Promise<Settled> => {
  const temporary = specOf(end.temporary);
  const target = specOf(end.target);
  if (end.stage === 'swap' && end.imageId !== null) {
    const there = await ifExists(ceph.info(target));
    if (there?.id === end.imageId) return { kind: 'completed', backup: null };
    // The old image is in the trash already, or was never there: the whole new one takes the name.
    if (there === null && (await ifExists(ceph.info(temporary)))?.id === end.imageId) {
      await ceph.rename(temporary, target);
      return { kind: 'completed', backup: null };
    }
  }
  await removeWithSnapshots(ceph, temporary);
  return { kind: 'undone' };
};

/** Removes an image of ours together with its snapshots; fine when it is not there. */
export const removeWithSnapshots = async (ceph: CephPort, image: ImageSpec): Promise<void> => {
  const snapshots = await ifExists(ceph.snapshots(image));
  if (snapshots === null) return;
  for (const snapshot of snapshots) await ceph.removeSnapshot(image, snapshot.name);
  await ceph.remove(image);
};

/** Null when the image (or its pool or namespace) is not there. */
export const ifExists = async <T>(step: Promise<T>): Promise<T | null> => {
  try {
    return await step;
  } catch (thrown) {
    const { code } = toFerryError(thrown);
    if (code === 'IMAGE_NOT_FOUND' || code === 'POOL_NOT_FOUND' || code === 'NAMESPACE_NOT_FOUND') return null;
    throw thrown;
  }
};

const specOf = (text: string): ImageSpec => orThrow(parseImageSpec(text), 'INVALID_IMAGE_SPEC');
