import type { Spread } from '../measure/spread.js';
import { holds, type Row } from './row.js';

const digits = (value: number): string => {
  if (value >= 100) return value.toFixed(0);
  return value >= 10 ? value.toFixed(1) : value.toFixed(2);
};

const ratioText = ({ median, min, max }: Spread): string => `${digits(median)} (${digits(min)}-${digits(max)})`;

const goalText = (row: Row): string => {
  if (row.goal === undefined) return '';
  return `${row.goal.bound} ${row.goal.value}: ${holds(row) === true ? 'holds' : 'DOES NOT HOLD'}`;
};

const head = ['case', 'what', 'peer', 'ours', "peer's", '', 'ours / peer (min-max)', 'goal'];

const cellsOf = (row: Row): string[] => [
  row.case,
  row.what,
  row.peer,
  digits(row.ours.median),
  digits(row.peers.median),
  row.unit,
  ratioText(row.ratio),
  goalText(row),
];

/** The table for a terminal. */
export const terminalTable = (rows: readonly Row[]): string => {
  const lines = [head, ...rows.map(cellsOf)];
  const widths = head.map((_, column) => Math.max(...lines.map((cells) => cells[column]?.length ?? 0)));
  const draw = (cells: readonly string[]) => cells.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  ');
  return lines.map((cells) => draw(cells).trimEnd()).join('\n');
};

/** The same for a document. */
export const markdownTable = (rows: readonly Row[]): string => {
  // A pipe between programs is no border of a cell.
  const line = (cells: readonly string[]) => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map((row) => line(cellsOf(row)))].join('\n');
};
