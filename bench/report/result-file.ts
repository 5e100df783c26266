import { mkdir, writeFile } from 'node:fs/promises';
import { cpus, totalmem } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Report } from './report.js';
import { markdownTable } from './table.js';

// From bench/dist/report.
const folder = fileURLToPath(new URL('../../results', import.meta.url));

/** Writes every figure as JSON, and the table as Markdown beside it; answers the path of the JSON. */
export const writeResults = async (report: Report, setting: object): Promise<string> => {
  await mkdir(folder, { recursive: true });
  const name = new Date().toISOString().replaceAll(':', '').slice(0, 17);
  const path = join(folder, `${name}.json`);
  const { rows, raw, notes, failures } = report;
  const machine = { processors: cpus().length, memoryBytes: totalmem(), node: process.version };
  const content = { machine, setting, beside: report.beside(), rows, notes, failures, raw };
  await writeFile(path, `${JSON.stringify(content, undefined, 2)}\n`);
  const lines = [markdownTable(rows), '', ...notes.map((note) => `* ${note}`), '', report.beside(), ''];
  await writeFile(join(folder, `${name}.md`), lines.join('\n'));
  return path;
};
