/** What the tests said of one release. */
export interface Row {
  readonly release: string;
  readonly ceph: string;
  readonly files: number;
  readonly passed: number;
  readonly failed: number;
  readonly seconds: number;
}

const HEAD = ['RELEASE', 'CEPH', 'FILES', 'PASSED', 'FAILED', 'SECONDS'];

/** A table for people, a line for each release. */
export function renderTable(rows: readonly Row[]): string {
  const cells = [
    HEAD,
    ...rows.map(({ release, ceph, ...numbers }) => [
      release,
      ceph,
      ...[numbers.files, numbers.passed, numbers.failed, numbers.seconds].map((number) => number.toFixed(0)),
    ]),
  ];
  const widths = HEAD.map((_, column) => Math.max(...cells.map((row) => row[column]?.length ?? 0)));
  return cells.map((row) => row.map((cell, column) => pad(cell, column, widths)).join('  ')).join('\n');
}

function pad(cell: string, column: number, widths: readonly number[]): string {
  const width = widths[column] ?? 0;
  return column < 2 ? cell.padEnd(width) : cell.padStart(width);
}
