import type { BackupId } from '@rbdferry/core/model/backup-id.js';

/** Backups that are being made, from the first look at their chain to their end. Several transfers may try to make the same one. */
export class Receiving {
  readonly #transfers = new Map<BackupId, number>();

  /** A transfer tries to make it. Answers what ends that; to be called once. */
  begin(id: BackupId): () => void {
    this.#transfers.set(id, (this.#transfers.get(id) ?? 0) + 1);
    return () => {
      const others = (this.#transfers.get(id) ?? 1) - 1;
      if (others === 0) this.#transfers.delete(id);
      else this.#transfers.set(id, others);
    };
  }

  has(id: BackupId): boolean {
    return this.#transfers.has(id);
  }

  get isNone(): boolean {
    return this.#transfers.size === 0;
  }
}
