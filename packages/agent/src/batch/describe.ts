import type { BatchJobRequest } from './batch-jobs.js';
import { describeSelection } from './selection.js';

/** What a batch is about, in a few words. */
export const describeBatch = (request: BatchJobRequest): string => {
  if (request.of === 'backup') return describeSelection(request.selection);
  const { pool, toPool, atMs, match, exclude } = request;
  return [
    ...(pool === toPool ? [`pool ${pool}`] : [`pool ${pool} to ${toPool}`]),
    ...(atMs === null ? [] : [`as of ${new Date(atMs).toISOString().slice(0, 19)}Z`]),
    ...match.map((glob) => `match ${glob}`),
    ...exclude.map((glob) => `exclude ${glob}`),
  ].join(', ');
};
