import { samplesOf, type Sample, type Turns } from '../measure/turns.js';
import { compare, cpuPerGiB, partsOf, type Goal, type Row } from './row.js';

/** The contenders of a transfer. */
export const subject = 'rbdferry';
export const pipe = 'export-diff | import-diff';
export const tuned = "the pipe with rbdferry's settings";
export const viaSsh = 'the same through ssh';
export const transportAlone = "the pipe through rbdferry's transport alone";
export const oldWay = 'export | ssh import';

/** What no change outside of the transport can better, for it does nothing else. */
export const transportRows = (name: string, turns: Turns): Row[] => {
  const limit = { case: name, what: transportAlone, ours: transportAlone };
  return [
    compare(turns, { ...limit, peer: pipe }),
    compare(turns, { ...limit, peer: viaSsh }),
    compare(turns, { ...limit, peer: viaSsh, unit: 'CPU s/GiB', figure: cpuPerGiB }),
  ];
};

/** From the first byte to the committed backup: what the pipe does as well. */
const transferPhases = partsOf('transfer', 'commit');

export interface TransferGoals {
  readonly pipe?: Goal;
  readonly ssh?: Goal;
  readonly cpu?: Goal;
}

/** Of a full backup on loopback, and of a restore. */
export const fullGoals: TransferGoals = {
  pipe: { text: 'not slower than 1.25 x the bare pipe', bound: 'at most', value: 1.25 },
  ssh: { text: 'at most 0.8 x the time through ssh', bound: 'at most', value: 0.8 },
  cpu: { text: 'CPU per GiB below that of the two ssh processes', bound: 'at most', value: 1 },
};

/** Of an increment of small extents with 5 ms to the OSDs. */
export const farGoals: TransferGoals = {
  pipe: { text: 'at least 2 x faster than the bare pipe', bound: 'at most', value: 0.5 },
};

/** Under this the CPU of a run is that of its start. */
const leastBytes = 16 * 1024 * 1024;

/** The lines that full, increment and restore have in common. */
export const transferRows = (name: string, turns: Turns, goals: TransferGoals): Row[] => {
  const whole = { case: name, what: 'whole command', ours: subject };
  const transfer = { case: name, what: 'transfer and commit', ours: subject, figure: transferPhases };
  const peerFigure = ({ seconds }: Sample) => seconds;
  const cpu = { case: name, what: 'CPU of both ends', ours: subject, unit: 'CPU s/GiB', figure: cpuPerGiB } as const;
  const isLarge = (samplesOf(turns, subject)[0]?.bytes ?? 0) >= leastBytes;
  return [
    compare(turns, { ...whole, peer: pipe, goal: goals.pipe }),
    compare(turns, { ...transfer, peer: pipe, peerFigure, goal: goals.pipe }),
    compare(turns, { ...whole, peer: viaSsh, goal: goals.ssh }),
    compare(turns, { ...transfer, peer: viaSsh, peerFigure, goal: goals.ssh }),
    ...(isLarge ? [compare(turns, { ...cpu, peer: viaSsh, goal: goals.cpu })] : []),
  ];
};
