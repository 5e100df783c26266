import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ensureCeph } from '@rbdferry/test/dist/ceph/install.js';
import { caseOf, type CaseName } from './cases/index.js';
import { parseOptions, type Options } from './options.js';
import { profileFull } from './profile/profile-full.js';
import { Report } from './report/report.js';
import { writeResults } from './report/result-file.js';
import { terminalTable } from './report/table.js';

const log = (line: string): void => {
  process.stderr.write(`${line}\n`);
};

const main = async (): Promise<void> => {
  const options = parseOptions(process.argv.slice(2));
  await ensureCeph({ log });
  if (options.profile) {
    await inOwnDirectory((dir) => profileFull({ dir, log, quick: options.quick, adapter: options.adapter }));
    return;
  }
  const report = new Report();
  for (const name of options.only) await runCase(name, options, report);
  console.log(terminalTable(report.rows));
  for (const line of [...report.notes, report.beside(), ...report.failures]) console.log(line);
  console.log(`every figure: ${await writeResults(report, options)}`);
  if (report.failures.length > 0) process.exitCode = 1;
};

/** A case that breaks is reported, and the others go on. */
const runCase = async (name: CaseName, options: Options, report: Report): Promise<void> => {
  log(`== ${name}`);
  const { rounds, quick, patterns, adapter } = options;
  try {
    await inOwnDirectory((dir) => caseOf(name)({ report, rounds, quick, patterns, adapter, dir, log }));
  } catch (error) {
    report.failures.push(`${name} broke off: ${error instanceof Error ? error.message : String(error)}`);
    log(error instanceof Error ? (error.stack ?? error.message) : String(error));
  }
};

const inOwnDirectory = async <T>(use: (dir: string) => Promise<T>): Promise<T> => {
  const dir = await mkdtemp(join(tmpdir(), 'rbdferry-bench-'));
  try {
    return await use(dir);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
};

try {
  await main();
} catch (error) {
  log(error instanceof Error ? error.message : String(error));
  process.exitCode = 1;
}
