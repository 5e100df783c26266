import type { ReportLine } from '../view/report.js';

const columns: readonly (readonly [string, keyof ReportLine])[] = [
  ['store', 'store'],
  ['client', 'client'],
  ['pool', 'pool'],
  ['namespace', 'namespace'],
  ['image', 'image'],
  ['fsid', 'fsid'],
  ['full_backups', 'fullBackups'],
  ['incremental_backups', 'incrementalBackups'],
  ['added_bytes', 'addedBytes'],
  ['stream_bytes', 'streamBytes'],
  ['size_bytes', 'sizeBytes'],
  ['first_committed_at', 'firstCommittedAt'],
  ['last_committed_at', 'lastCommittedAt'],
];

/** The report as CSV of RFC 4180, with a header line. What is not known is empty. */
export const reportCsv = (lines: readonly ReportLine[]): string =>
  [columns.map(([title]) => title), ...lines.map((line) => columns.map(([, key]) => fieldOf(line[key])))]
    .map((fields) => `${fields.join(',')}\r\n`)
    .join('');

const fieldOf = (value: ReportLine[keyof ReportLine]): string => {
  const text = value instanceof Date ? value.toISOString() : String(value ?? '');
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
};
