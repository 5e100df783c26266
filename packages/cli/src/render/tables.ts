import { visible } from '../output.js';
import type { BackupView, ChainView } from '../view/chain.js';
import type { DumpedBackup, DumpedChain } from '../view/dump.js';
import type { JobView } from '../view/job.js';
import { holdText } from '../view/hold.js';
import { totalsOf, type ChainUsageView } from '../view/usage.js';
import { colors } from './colors.js';
import { bytes, bytesOrDash, time } from './human.js';
import { paintState, stateText, tookText } from './state.js';
import { table, type Column } from './table.js';

/** Of fixed widths, so that the tables of several chains line up; the id is last because it is long. */
const backupColumns = {
  snapshot: { title: 'SNAPSHOT', width: 22, cell: ({ snapshotAt }) => time(snapshotAt) },
  kind: { title: 'KIND', width: 13, cell: ({ kind }) => kind ?? '-' },
  size: { title: 'SIZE', width: 12, right: true, cell: ({ sizeBytes }) => bytes(sizeBytes) },
  stream: { title: 'STREAM', width: 12, right: true, cell: ({ streamBytes }) => bytesOrDash(streamBytes) },
  onSource: { title: 'ON SOURCE', width: 11, cell: ({ presentOnSource }) => onSourceText(presentOnSource) },
  short: { title: 'SHORT ID', width: 10, cell: ({ shortId }) => shortId },
  id: { title: 'ID', cell: ({ id }) => id },
} satisfies Record<string, Column<BackupView>>;

/** Only in chains that have one: holds are seldom, and ids are long. */
const heldColumn: Column<BackupView> = {
  title: 'HELD',
  cell: ({ hold }) => (hold === null ? '-' : shortened(holdText(hold))),
};

const longestHold = 60;

const shortened = (text: string): string => (text.length > longestHold ? `${text.slice(0, longestHold - 1)}…` : text);

const onSourceText = (present: boolean | null): string => {
  if (present === null) return '?';
  return present ? 'yes' : '-';
};

const { snapshot, kind, size, stream, onSource, short, id } = backupColumns;
const listColumns: Column<BackupView>[] = [snapshot, kind, size, stream, onSource, short, id];
const added: Column<DumpedBackup> = {
  title: 'ADDED',
  width: 12,
  right: true,
  cell: ({ addedBytes }) => bytesOrDash(addedBytes),
};
const dumpColumns: Column<DumpedBackup>[] = [snapshot, kind, size, stream, added, onSource, short, id];

/** A chain: a heading, and a line for each backup. */
export const chainTable = (chain: ChainView): string =>
  `${chainHeading(chain)}\n${rowsOf(withHolds(listColumns, chain), chain.backups)}`;

/** The same, with what the backups take up. */
export const dumpTable = (chain: DumpedChain): string =>
  `${chainHeading(chain)}  ${bytes(chain.usedBytes)} used\n${rowsOf(withHolds(dumpColumns, chain), chain.backups)}`;

/** Before the id, which stays last. */
const withHolds = <Row extends BackupView>(columns: readonly Column<Row>[], { backups }: ChainView): Column<Row>[] =>
  backups.some((backup) => backup.hold !== null) ? columns.toSpliced(-1, 0, heldColumn) : [...columns];

const chainHeading = (chain: ChainView): string => {
  const name = colors.bold(visible(imagesText(chain) ?? '(no image)'));
  return `${name}  ${chainState(chain)}  ${colors.dim(visible(`${chain.store}/${chain.name}`))}`;
};

/** A chain may hold backups of several images. */
const imagesText = ({ image, images }: Pick<ChainView, 'image' | 'images'>): string | null =>
  images.length > 1 ? images.join(', ') : image;

const rowsOf = <Row>(columns: readonly Column<Row>[], rows: readonly Row[]): string =>
  (rows.length === 0 ? 'no backups' : table(columns, rows)).replace(/^/gm, '  ');

const chainState = ({ active, legacy, partial }: ChainView): string =>
  [
    active ? colors.green('active') : 'passive',
    ...(legacy ? ['legacy'] : []),
    ...(partial ? [colors.yellow('partial')] : []),
  ].join(', ');

interface UsageRow {
  readonly image: string;
  readonly chain: string;
  readonly backups: number;
  /** Null in the line of totals: the sizes of two chains of one image do not add up to anything. */
  readonly sizeBytes: bigint | null;
  readonly usedBytes: bigint;
}

const usageColumns: Column<UsageRow>[] = [
  { title: 'IMAGE', cell: ({ image }) => image },
  { title: 'BACKUPS', right: true, cell: ({ backups }) => String(backups) },
  { title: 'SIZE', right: true, cell: ({ sizeBytes }) => (sizeBytes === null ? '' : bytes(sizeBytes)) },
  { title: 'USED', right: true, cell: ({ usedBytes }) => bytes(usedBytes) },
  { title: 'CHAIN', cell: ({ chain }) => chain },
];

/** What chains take up, a chain a line, and a line of totals. */
export const usageTable = (chains: readonly ChainUsageView[]): string => {
  const rows = chains.map((chain) => ({
    image: imagesText(chain) ?? '-',
    chain: `${chain.store}/${chain.name}`,
    backups: chain.backups.length,
    sizeBytes: chain.sizeBytes,
    usedBytes: chain.usedBytes,
  }));
  return table(usageColumns, [...rows, { ...totalsOf(chains), image: 'total', chain: '', sizeBytes: null }]);
};

const jobColumns = (now: Date): Column<JobView>[] => [
  { title: 'JOB', cell: ({ id }) => id },
  { title: 'KIND', cell: ({ kind }) => kind },
  { title: 'CREATED', cell: ({ createdAt }) => time(createdAt) },
  { title: 'TOOK', right: true, cell: (job) => tookText(job, now) },
  { title: 'IMAGE', cell: ({ image, children }) => image ?? children?.selection ?? '-' },
  { title: 'STATE', cell: stateText, paint: paintState },
];

export const jobTable = (jobs: readonly JobView[], now: Date): string => table(jobColumns(now), jobs);
