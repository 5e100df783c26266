import type { MachineLoad } from '../measure/machine.js';
import { spreadOf } from '../measure/spread.js';
import type { Turns } from '../measure/turns.js';
import type { Row } from './row.js';

/** One case's raw samples, for the file. */
interface RawTurns {
  readonly case: string;
  readonly samples: Record<string, unknown>;
  readonly loads: readonly MachineLoad[];
}

/** What one process of the benchmark hands to another. */
export interface ReportParts {
  readonly rows: readonly Row[];
  readonly raw: readonly RawTurns[];
  readonly notes: readonly string[];
}

/** What the cases found. Grows while they run, so that a broken one does not take the others with it. */
export class Report {
  readonly rows: Row[] = [];
  readonly raw: RawTurns[] = [];
  readonly notes: string[] = [];
  readonly failures: string[] = [];

  add(...rows: readonly Row[]): void {
    this.rows.push(...rows);
  }

  /** Keeps every single figure. */
  keep(name: string, turns: Turns): void {
    this.raw.push({ case: name, samples: Object.fromEntries(turns.samples), loads: turns.loads });
    const peaks = peaksOf(turns);
    if (peaks !== '') this.note(`${name}: peak resident memory ${peaks}`);
  }

  merge({ rows, raw, notes }: ReportParts): void {
    this.rows.push(...rows);
    this.raw.push(...raw);
    this.notes.push(...notes);
  }

  note(line: string): void {
    this.notes.push(line);
  }

  /** What else the machine did before the rounds. */
  beside(): string {
    const shares = this.raw.flatMap(({ loads }) => loads.map(({ busyShare }) => busyShare * 100));
    if (shares.length === 0) return 'no round was run';
    const { median, min, max } = spreadOf(shares);
    return `processors busy just before the rounds: median ${median.toFixed(0)} % (${min.toFixed(0)}-${max.toFixed(0)} %)`;
  }
}

const peaksOf = ({ samples }: Turns): string => {
  const highest = new Map<string, number>();
  for (const list of samples.values()) {
    for (const { peakBytes = {} } of list) {
      for (const [name, bytes] of Object.entries(peakBytes)) highest.set(name, Math.max(bytes, highest.get(name) ?? 0));
    }
  }
  return [...highest].map(([name, bytes]) => `${name} ${Math.round(bytes / 1e6)} MB`).join(', ');
};
