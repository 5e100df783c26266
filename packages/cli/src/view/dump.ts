import type { BackupView, ChainView } from './chain.js';

/** What is known of a backup, and what it takes up. */
export interface DumpedBackup extends BackupView {
  /** Null when it was not there any more when it was to be measured. */
  readonly addedBytes: bigint | null;
}

/** A chain with everything that is known of it. This is the JSON shape too. */
export interface DumpedChain extends ChainView {
  /** Sum of what its backups added. */
  readonly usedBytes: bigint;
  readonly backups: readonly DumpedBackup[];
}
