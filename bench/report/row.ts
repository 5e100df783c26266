import { ratioOf, spreadOf, type Spread } from '../measure/spread.js';
import { samplesOf, type Sample, type Turns } from '../measure/turns.js';

/** What a ratio must be. */
export interface Goal {
  readonly text: string;
  readonly bound: 'at most' | 'at least';
  readonly value: number;
}

/** One line of the table. */
export interface Row {
  readonly case: string;
  readonly what: string;
  readonly peer: string;
  /** Ours and the peer's, in `unit`. */
  readonly ours: Spread;
  readonly peers: Spread;
  readonly unit: 's' | 'MB/s' | 'CPU s/GiB' | 'MB' | '1/s';
  /** Ours / the peer's, round by round. */
  readonly ratio: Spread;
  readonly goal?: Goal;
}

export const holds = ({ ratio, goal }: Row): boolean | undefined => {
  if (goal === undefined) return undefined;
  return goal.bound === 'at most' ? ratio.median <= goal.value : ratio.median >= goal.value;
};

interface RowOptions {
  readonly case: string;
  readonly what: string;
  readonly ours: string;
  readonly peer: string;
  readonly unit?: Row['unit'];
  /** The figure to compare; the whole time when left out. */
  readonly figure?: (sample: Sample) => number;
  readonly peerFigure?: (sample: Sample) => number;
  readonly goal?: Goal | undefined;
}

/** Compares two contenders of the same turns. */
export const compare = (turns: Turns, options: RowOptions): Row => {
  const figure = options.figure ?? (({ seconds }: Sample) => seconds);
  const ours = samplesOf(turns, options.ours).map(figure);
  const peers = samplesOf(turns, options.peer).map(options.peerFigure ?? figure);
  return {
    case: options.case,
    what: options.what,
    peer: options.peer,
    unit: options.unit ?? 's',
    ours: spreadOf(ours),
    peers: spreadOf(peers),
    ratio: ratioOf(ours, peers),
    ...(options.goal === undefined ? {} : { goal: options.goal }),
  };
};

/** A part of a sample, by name; 0 when the sample has none. */
export const partsOf =
  (...names: readonly string[]) =>
  ({ parts = {} }: Sample): number =>
    names.reduce((sum, name) => sum + (parts[name] ?? 0), 0);

/** CPU seconds of all processes of a sample. */
export const cpuOf = ({ cpu = {} }: Sample): number => Object.values(cpu).reduce((sum, value) => sum + value, 0);

const GiB = 1024 ** 3;

/** CPU seconds of all processes of a sample for each GiB that went through. */
export const cpuPerGiB = (sample: Sample): number => cpuOf(sample) / ((sample.bytes ?? 0) / GiB);

/** MB a second. */
export const rate = ({ bytes = 0, seconds }: Sample): number => bytes / 1e6 / seconds;
