import { note } from '../output.js';
import { hasEnded, type JobView } from '../view/job.js';
import { bytes } from './human.js';
import type { ProgressDisplay } from './progress.js';
import { tookText } from './state.js';

/** How often the jobs of a batch are looked at, in milliseconds: a thousand of them are a message of half a megabyte. */
const lookEveryMs = 1_000;

/** A line for each job of a batch when it has ended, above the bar of them all. */
export interface BatchDisplay extends ProgressDisplay {
  /** The batch has ended with these jobs: tells those that have no line yet. */
  rest(jobs: readonly JobView[]): void;
}

/**
 * @param childrenOf asks for the jobs of a batch
 * @param bar shows the batch
 */
export const batchOnTerminal = (
  childrenOf: (batch: string) => Promise<readonly JobView[]>,
  bar: ProgressDisplay,
): BatchDisplay => {
  const told = new Set<string>();
  let endedBefore = 0;
  let lookedAt = Number.NEGATIVE_INFINITY;
  const rest = (jobs: readonly JobView[]): void => {
    const fresh = jobs.filter((job) => hasEnded(job) && !told.has(job.id));
    if (fresh.length > 0) bar.stop();
    for (const job of fresh) {
      note(lineOf(job));
      told.add(job.id);
    }
  };
  return {
    rest,
    async update(job) {
      const { committed = 0, failed = 0, cancelled = 0 } = job.children ?? {};
      const ended = committed + failed + cancelled;
      if (ended > endedBefore && performance.now() - lookedAt > lookEveryMs) {
        lookedAt = performance.now();
        endedBefore = ended;
        rest(await childrenOf(job.id));
      }
      await bar.update(job);
    },
    stop() {
      bar.stop();
    },
  };
};

const lineOf = (child: JobView): string => {
  const image = child.image ?? child.id;
  const took = tookText(child, new Date());
  switch (child.state) {
    case 'committed':
      return `${image}: ${child.kind === 'restore' ? 'restored' : (child.backupKind ?? 'backup')}, ${bytes(child.streamBytes)} in ${took}`;
    case 'failed':
      return `${image}: failed: ${child.error.code}`;
    default:
      return `${image}: ${child.state}`;
  }
};
