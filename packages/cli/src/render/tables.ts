import Table from 'cli-table3';
import { visible } from '../output.js';
import type { BackupView, ChainView } from '../view/chain.js';
import type { JobView } from '../view/job.js';
import { colors } from './colors.js';
import { bytes, bytesOrDash, time } from './human.js';
import { paintState, stateText, tookText } from './state.js';

interface Column<Row> {
  readonly title: string;
  /** With the space behind it; as wide as its cells when left out. */
  readonly width?: number;
  readonly right?: boolean;
  readonly cell: (row: Row) => string;
  readonly paint?: (row: Row) => (text: string) => string;
}

const noLines = Object.fromEntries(
  ['top', 'bottom', 'left', 'right', 'mid']
    .flatMap((edge) => [edge, `${edge}-mid`, `${edge}-left`, `${edge}-right`])
    .concat('middle')
    .map((name) => [name, '']),
);

/** A table without lines, which a terminal's selection and `awk` both like. */
const table = <Row>(columns: readonly Column<Row>[], rows: readonly Row[]): string => {
  const drawn = new Table({
    head: columns.map(({ title }) => colors.dim(title)),
    chars: noLines,
    colAligns: columns.map(({ right }) => (right === true ? 'right' : 'left')),
    colWidths: columns.map(({ width }) => width ?? null),
    style: { head: [], border: [], compact: true, 'padding-left': 0, 'padding-right': 2 },
  });
  for (const row of rows) {
    drawn.push(columns.map(({ cell, paint }) => (paint?.(row) ?? String)(visible(cell(row)))));
  }
  return drawn
    .toString()
    .split('\n')
    .map((line) => line.trimEnd())
    .join('\n');
};

/** Of fixed widths, so that the tables of several chains line up; the id is last because it is long. */
const backupColumns: Column<BackupView>[] = [
  { title: 'SNAPSHOT', width: 22, cell: ({ snapshotAt }) => time(snapshotAt) },
  { title: 'KIND', width: 13, cell: ({ kind }) => kind ?? '-' },
  { title: 'SIZE', width: 12, right: true, cell: ({ sizeBytes }) => bytes(sizeBytes) },
  { title: 'STREAM', width: 12, right: true, cell: ({ streamBytes }) => bytesOrDash(streamBytes) },
  { title: 'ON SOURCE', width: 11, cell: ({ presentOnSource }) => (presentOnSource ? 'yes' : '-') },
  { title: 'ID', cell: ({ id }) => id },
];

/** A chain: a heading, and a line for each backup. */
export const chainTable = (chain: ChainView): string => {
  const name = colors.bold(visible(chain.image ?? '(no image)'));
  const heading = `${name}  ${chainState(chain)}  ${colors.dim(visible(`${chain.store}/${chain.name}`))}`;
  const rows = chain.backups.length === 0 ? 'no backups' : table(backupColumns, chain.backups);
  return `${heading}\n${rows.replace(/^/gm, '  ')}`;
};

const chainState = ({ active, legacy, partial }: ChainView): string =>
  [
    active ? colors.green('active') : 'passive',
    ...(legacy ? ['legacy'] : []),
    ...(partial ? [colors.yellow('partial')] : []),
  ].join(', ');

const jobColumns = (now: Date): Column<JobView>[] => [
  { title: 'JOB', cell: ({ id }) => id },
  { title: 'KIND', cell: ({ kind }) => kind },
  { title: 'CREATED', cell: ({ createdAt }) => time(createdAt) },
  { title: 'TOOK', right: true, cell: (job) => tookText(job, now) },
  { title: 'IMAGE', cell: ({ image }) => image ?? '-' },
  { title: 'STATE', cell: stateText, paint: paintState },
];

export const jobTable = (jobs: readonly JobView[], now: Date): string => table(jobColumns(now), jobs);
