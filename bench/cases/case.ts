import type { Report } from '../report/report.js';
import type { PatternName } from '../rig/patterns.js';

/** What every case gets. */
export interface CaseContext {
  readonly report: Report;
  readonly rounds: number;
  /** Smaller images, fewer settings. */
  readonly quick: boolean;
  readonly patterns: readonly PatternName[];
  /** `ceph.adapter` of the daemons' configuration; their own choice when left out. */
  readonly adapter: string | undefined;
  /** A directory of the case's own; removed after it. */
  readonly dir: string;
  readonly log: (line: string) => void;
}

export type Case = (context: CaseContext) => Promise<void>;
