import type { CephPort } from '@rbdferry/core/ceph/port.js';
import { toFerryError } from '@rbdferry/core/errors/ferry-error.js';
import { orThrow } from '@rbdferry/core/errors/parsed.js';
import { parseImageSpec, type ImageSpec } from '@rbdferry/core/model/image-spec.js';
import type { Backup } from '@rbdferry/core/model/chain.js';
import type { BackupId } from '@rbdferry/core/model/backup-id.js';
import type { JobStore } from './job-store.js';
import type { KeptLooseEnd, LooseEnd } from './job.js';

/** How a loose end came out. */
export type Settled =
  /** The backup was committed after all, or the restore's swap is complete. */
  | { readonly kind: 'completed'; readonly backup: Backup | null }
  /** What was made on the source cluster is gone again. */
  | { readonly kind: 'undone' };

/** A loose end of a running job. */
export interface LooseEndHandle {
  update(end: LooseEnd): void;
  /** It is as it should be: strike it out. */
  close(): void;
  /**
   * Finds out what became of it, cleans up or completes, and strikes it out.
   *
   * @param accept whether a backup that the receiver has is the one that was sent; any is when it is not known what was sent
   * @throws when that cannot be done now; it stays written down
   */
  settle(accept?: (backup: Backup) => boolean): Promise<Settled>;
}

export interface SettleDeps {
  readonly ceph: CephPort;
  /** The backup at a receiver; null when the receiver says that there is none. @throws when the receiver cannot say */
  readonly findBackup: (receiver: string, id: BackupId) => Promise<Backup | null>;
}

/** The loose ends of all jobs. */
export class LooseEnds {
  readonly #store: JobStore;
  readonly #deps: SettleDeps;

  constructor(store: JobStore, deps: SettleDeps) {
    this.#store = store;
    this.#deps = deps;
  }

  add(jobId: string, end: LooseEnd): LooseEndHandle {
    return this.#handle({ id: this.#store.addLooseEnd(jobId, end), jobId, end });
  }

  /** Those that earlier jobs left. */
  kept(): (KeptLooseEnd & { handle: LooseEndHandle })[] {
    return this.#store.looseEnds().map((kept) => ({ ...kept, handle: this.#handle(kept) }));
  }

  #handle(kept: KeptLooseEnd): LooseEndHandle {
    let { end } = kept;
    const close = () => {
      this.#store.removeLooseEnd(kept.id);
    };
    return {
      update: (next) => {
        this.#store.updateLooseEnd(kept.id, next);
        end = next;
      },
      close,
      settle: async (accept = () => true) => {
        const settled = await settle(end, this.#deps, accept);
        close();
        return settled;
      },
    };
  }
}

const settle = (end: LooseEnd, deps: SettleDeps, accept: (backup: Backup) => boolean): Promise<Settled> =>
  end.kind === 'snapshot' ? settleSnapshot(end, deps, accept) : settleRestore(end, deps);

const settleSnapshot = async (
  end: LooseEnd & { kind: 'snapshot' },
  { ceph, findBackup }: SettleDeps,
  accept: (backup: Backup) => boolean,
): Promise<Settled> => {
  const backup = await findBackup(end.receiver, end.backupId);
  if (backup !== null && accept(backup)) return { kind: 'completed', backup };
  const image = specOf(end.image);
  const info = await ifExists(ceph.info(image));
  if (info?.id === end.imageId) await ceph.removeSnapshot(image, end.snap);
  return { kind: 'undone' };
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
