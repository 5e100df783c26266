import type { JobView, RunningState } from '../view/job.js';

/** A reading as the display shows jobs. */
export const asJob = (progress: RunningState): JobView => ({
  id: '',
  kind: 'restore',
  image: null,
  receiver: '',
  store: '',
  backupId: null,
  backupKind: null,
  createdAt: new Date(0),
  startedAt: null,
  endedAt: null,
  limitBytesPerSecond: null,
  attempt: 1,
  parentId: null,
  children: null,
  ...progress,
});
