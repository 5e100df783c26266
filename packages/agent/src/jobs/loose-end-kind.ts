import type { Backup } from '@rbdferry/core/model/chain.js';
import type { LooseEnd } from './job.js';

/** How a loose end came out. */
export type Settled =
  /** It is as it should be after all: the backup was committed, or the restore's swap is complete. */
  | { readonly kind: 'completed'; readonly backup: Backup | null }
  /** What was made is gone again. */
  | { readonly kind: 'undone' }
  /** Nothing of it is there, but it may still come: it stays written down and is looked at again. */
  | { readonly kind: 'waiting' };

/** What a kind of loose end is settled by. A job kind's folder gives those that its jobs leave. */
export interface LooseEndKind<End extends LooseEnd> {
  /**
   * Finds out what became of it, and cleans up or completes.
   *
   * @param accept whether a backup that the receiver has is the one that was sent
   * @throws when that cannot be done now
   */
  settle(end: End, accept: (backup: Backup) => boolean): Promise<Settled>;
  /** Since when it has been waiting for what may still come, in milliseconds since 1970; undefined when it does not. */
  waitingSinceMs?(end: End): number | undefined;
}

export type LooseEndKinds = Readonly<Record<string, LooseEndKind<LooseEnd>>>;
