import type { BackupId } from '@rbdferry/core/model/backup-id.js';
import type { BackupKind } from '@rbdferry/core/model/chain.js';
import type { JobState } from '@rbdferry/core/model/job-state.js';

/** What the agent was asked to do, as far as it is the same for every kind of job. Images are spelled as POOL[/NAMESPACE]/IMAGE. */
export interface JobRequest {
  /** A name of the table of job kinds. */
  readonly kind: string;
  readonly receiver: string;
  readonly store: string;
  /** Left out for no limit of its own, so that the requests of earlier releases are still equal to the same ones. */
  readonly limitBytesPerSecond?: number;
  /** How often it is tried at most; left out for once. */
  readonly attempts?: number;
  /** Id of the batch that it belongs to. */
  readonly parent?: string;
}

/** A job as it is kept. */
export interface Job<Request extends JobRequest = JobRequest> {
  readonly id: string;
  readonly request: Request;
  readonly state: JobState;
  readonly createdAtMs: number;
  /** The image backed up, or the one a restore makes ('' until that is known). */
  readonly image: string;
  readonly backupId: BackupId | null;
  readonly backupKind: BackupKind | null;
}

/**
 * Something a job may leave behind, written down before it is made and struck out once it is settled. Whatever happens to the agent, what
 * stands here is cleaned up or completed later.
 */
export interface LooseEnd {
  /** A name of the table of kinds of loose ends. */
  readonly kind: string;
}

export interface KeptLooseEnd {
  readonly id: number;
  readonly jobId: string;
  readonly end: LooseEnd;
}
