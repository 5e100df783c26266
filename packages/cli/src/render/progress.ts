import type { SingleBar } from 'cli-progress';
import { visible } from '../output.js';
import type { JobView, RunningState } from '../view/job.js';
import { percentOf } from './human.js';
import { runningFacts, stateText } from './state.js';

/** Where a job's progress is shown while it runs. */
export interface ProgressDisplay {
  /** @throws OUTPUT_FAILED */
  update(job: JobView): void | Promise<void>;
  /** Takes the display off the terminal. Safe at any time. */
  stop(): void;
}

/** A bar on stderr, which is a terminal. */
export const progressOnTerminal = async (): Promise<ProgressDisplay> => {
  const { default: progress } = await import('cli-progress');
  return new ProgressBar(
    new progress.SingleBar({
      stream: process.stderr,
      // A terminal is left as it was found, even by a process that is killed: no hidden cursor, no changed wrapping.
      linewrap: true,
      gracefulExit: false,
      clearOnComplete: true,
      format: (_options, _params, payload: { line?: string }) => payload.line ?? '',
    }),
  );
};

class ProgressBar implements ProgressDisplay {
  readonly #bar: SingleBar;
  #started = false;

  constructor(bar: SingleBar) {
    this.#bar = bar;
  }

  update(job: JobView): void {
    const payload = { line: progressLine(job, process.stderr.columns) };
    if (this.#started) this.#bar.update(payload);
    else this.#bar.start(1, 0, payload);
    this.#started = true;
  }

  stop(): void {
    if (this.#started) this.#bar.stop();
    this.#started = false;
  }
}

const barCells = { least: 10, most: 40 } as const;

/**
 * The line that shows a job, cut to the terminal's width.
 *
 * @param columns width of the terminal; 0 when it is not known
 */
export const progressLine = (job: JobView, columns: number): string => {
  const width = (columns > 0 ? columns : 80) - 1;
  const [head = '', ...rest] = job.state === 'running' ? runningFacts(job) : [stateText(job)];
  const figures = rest.join('  ');
  const slowest = slowestOf(job);
  // The bar is worth more than the name of the bottleneck.
  const tail = figures.length + slowest.length <= width - headAndGaps - barCells.least ? figures + slowest : figures;
  // Phases differ in length; a fixed place for the bar is calmer.
  const parts = [visible(head).padEnd(rest.length === 0 ? 0 : 8), barOf(job, width - tail.length), tail];
  return parts
    .filter((part) => part !== '')
    .join('  ')
    .slice(0, width);
};

/** Behind the rate and the time that are left, what sets them. Empty while that is not known. */
const slowestOf = (job: JobView): string =>
  job.state === 'running' && job.phase === 'transfer' && job.stages?.bottleneck != null
    ? `  slowest: ${job.stages.bottleneck}`
    : '';

const headAndGaps = 8 + 2 + 2 + 2;

/** Empty when the total is unknown or there is no room. */
const barOf = (job: JobView, room: number): string => {
  const cells = Math.min(room - headAndGaps, barCells.most);
  if (job.state !== 'running' || job.totalBytes === null || job.waitsFor !== null) return '';
  return cells < barCells.least ? '' : drawBar(job, job.totalBytes, cells);
};

const drawBar = ({ doneBytes }: RunningState, totalBytes: bigint, cells: number): string => {
  const filled = Math.floor((percentOf(doneBytes, totalBytes) * cells) / 100);
  return `[${'='.repeat(filled)}${' '.repeat(cells - filled)}]`;
};
