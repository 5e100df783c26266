import type { BackupId, ChainName } from '@rbdferry/core/model/backup-id.js';
import type { BackupKind } from '@rbdferry/core/model/chain.js';
import type { JobState } from '@rbdferry/core/model/job-state.js';
import type { BackupMode } from '@rbdferry/core/model/planner.js';

/** What the agent was asked to do. Images are spelled as POOL[/NAMESPACE]/IMAGE. */
export type JobRequest = (BackupJobRequest | RestoreJobRequest) & {
  /** Left out for no limit of its own, so that the requests of earlier releases are still equal to the same ones. */
  readonly limitBytesPerSecond?: number;
};

interface BackupJobRequest {
  readonly kind: 'backup';
  readonly image: string;
  readonly mode: BackupMode;
  readonly receiver: string;
  readonly store: string;
}

interface RestoreJobRequest {
  readonly kind: 'restore';
  readonly backupId: BackupId;
  readonly receiver: string;
  readonly store: string;
  /** Null for the name the image had. */
  readonly to: string | null;
  readonly replace: boolean;
}

/** A job as it is kept. */
export interface Job {
  readonly id: string;
  readonly request: JobRequest;
  readonly state: JobState;
  readonly createdAtMs: number;
  /** The image backed up, or the one a restore makes ('' until that is known). */
  readonly image: string;
  readonly backupId: BackupId | null;
  readonly backupKind: BackupKind | null;
}

/**
 * Something a job may leave on the source cluster, written down before it is made and struck out once it is settled. Whatever
 * happens to the agent, what stands here is cleaned up or completed later.
 */
export type LooseEnd =
  | {
      /** A snapshot for a backup that may or may not have been committed. */
      readonly kind: 'snapshot';
      readonly image: string;
      /** Another image of that name is none of our business. */
      readonly imageId: string;
      readonly snap: string;
      readonly receiver: string;
      readonly backupId: BackupId;
      /**
       * When Ceph was asked to make it, in milliseconds since 1970, while it has not been seen: a request whose asker gave up is carried out
       * later by whoever has the image open. Left out once it was seen, and in records of earlier releases.
       */
      readonly unseenSinceMs?: number;
    }
  | {
      /** A temporary image of a restore. */
      readonly kind: 'restore';
      readonly temporary: string;
      readonly target: string;
      /** From `swap` on, the temporary image is whole and takes the target's name. */
      readonly stage: 'import' | 'swap';
      /** Image id of the temporary image, once known. */
      readonly imageId: string | null;
    }
  | DeletionEnd;

/** Backups that were asked to go, and the snapshots on the source cluster that serve nobody once they are gone. */
export interface DeletionEnd {
  readonly kind: 'deletion';
  readonly receiver: string;
  readonly store: string;
  /** The chain that was asked to go as a whole; null when one backup was. */
  readonly chain: ChainName | null;
  readonly ids: readonly BackupId[];
  readonly snapshots: readonly SourceSnapshot[];
}

/** A snapshot that a backup was made of, by the image's id: its name may have changed since. */
export interface SourceSnapshot {
  readonly backupId: BackupId;
  readonly pool: string;
  readonly namespace: string;
  readonly imageId: string;
  readonly snap: string;
}

export interface KeptLooseEnd {
  readonly id: number;
  readonly jobId: string;
  readonly end: LooseEnd;
}
