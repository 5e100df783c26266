import { ensureInstalled } from '../ceph/install.js';
import { readMachineApt, type MachineApt } from './apt.js';
import { parseOptions, USAGE, type Options } from './options.js';
import { ensureRoot } from './root-folder.js';
import { runTests } from './run-tests.js';
import { SetupError } from './setup-error.js';
import { renderTable, type Row } from './table.js';

/** Our tests on other releases of Ceph, each in a root folder of its own: `npm run test:releases`. */
const main = async (signal: AbortSignal): Promise<number> => {
  const options = parseOptions(process.argv.slice(2));
  if (options === 'help') {
    console.log(USAGE);
    return 0;
  }
  if (process.getuid?.() !== 0)
    throw new SetupError('a root folder can only be made and entered by root', 'run it as root, or with sudo');
  const rows = await tryReleases(options, signal);
  console.log(`\n${renderTable(rows)}`);
  return rows.every(({ failed, passed }) => failed === 0 && passed > 0) ? 0 : 1;
};

const tryReleases = async (options: Options, signal: AbortSignal): Promise<Row[]> => {
  const log = (line: string): void => console.error(line);
  let read: Promise<MachineApt> | undefined;
  const apt = async (): Promise<MachineApt> => {
    await ensureInstalled({ name: 'debootstrap', programs: ['debootstrap'], packages: PACKAGES }, log);
    return (read ??= readMachineApt(options.mirror));
  };
  const rows: Row[] = [];
  for (const suite of options.suites) {
    const root = await ensureRoot({ ...options, suite, apt, log, signal });
    log(`${suite}: testing`);
    rows.push(await runTests(root, suite, { ...options, signal }));
  }
  return rows;
};

/** With the keys of Debian's archive, which an Ubuntu does not have. */
const PACKAGES = ['debootstrap', 'debian-archive-keyring'];

const ending = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.once(signal, () => ending.abort(new SetupError(`ended by ${signal}`)));
}
try {
  process.exitCode = await main(ending.signal);
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = ending.signal.aborted ? 130 : 1;
}
