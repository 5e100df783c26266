import { chmod, mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runInRoot, type Bind } from './confined.js';
import type { Options } from './options.js';
import { SetupError } from './setup-error.js';
import type { Row } from './table.js';

const checkout = fileURLToPath(new URL('../../../', import.meta.url));
/** None of the folders that a test of the README puts its own in place of. */
const INSIDE = '/rbdferry';

/** Runs the tests in a root folder; their output goes to ours. @throws SetupError when no test was run */
export async function runTests(
  root: string,
  release: string,
  { only, vitestArgs, signal }: Pick<Options, 'only' | 'vitestArgs'> & { readonly signal: AbortSignal },
): Promise<Row> {
  const begin = performance.now();
  const ceph = await cephVersion(root, signal);
  await checkNode(root, signal);
  // Removed by the next run, if this one is killed.
  const tmp = `${root}-tmp.${process.pid}.new`;
  await mkdir(tmp);
  await chmod(tmp, 0o1777);
  try {
    const report = ['--reporter=default', '--reporter=json', '--outputFile=/tmp/report.json'];
    const vitest = [
      'node',
      'node_modules/vitest/vitest.mjs',
      'run',
      '--configLoader=runner',
      '--project=ceph',
      '--project=faults',
      ...report,
    ];
    const binds = [node, { from: checkout, to: INSIDE, readOnly: true }, { from: tmp, to: '/tmp' }];
    await runInRoot(root, [...vitest, ...only, ...vitestArgs], { binds, cwd: INSIDE, signal, env: { HOME: '/root' } });
    signal.throwIfAborted();
    const counts = countReport(await readFile(join(tmp, 'report.json'), 'utf8').catch(() => undefined));
    return { release, ceph, ...counts, seconds: (performance.now() - begin) / 1000 };
  } finally {
    // What was killed may write one more file.
    await rm(tmp, { recursive: true, force: true, maxRetries: 10 });
  }
}

async function cephVersion(root: string, signal: AbortSignal): Promise<string> {
  const { stdout } = await runInRoot(root, ['ceph', '--version'], { signal, output: 'pipe' });
  signal.throwIfAborted();
  return /ceph version ([\d.]+)/.exec(stdout)?.[1] ?? '?';
}

/** The Node.js that runs this, so that what differs between two rows is Ceph. */
const node: Bind = { from: process.execPath, to: '/usr/bin/node', readOnly: true };

async function checkNode(root: string, signal: AbortSignal): Promise<void> {
  const { stdout, printed } = await runInRoot(root, ['node', '--version'], { binds: [node], signal, output: 'pipe' });
  signal.throwIfAborted();
  if (stdout.trim() === process.version) return;
  throw new SetupError(
    `"${process.execPath}" does not run in "${root}": ${printed.trim()}`,
    "take a Node.js that needs no library but the C library's and libstdc++, such as that of nodejs.org",
  );
}

interface Report {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly testResults: readonly {
    readonly status: string;
    readonly assertionResults: readonly { readonly status: string }[];
  }[];
}

/** Counts what vitest's JSON reporter wrote. A file that fails outside of its tests counts as one more failure. */
export function countReport(text: string | undefined): Pick<Row, 'files' | 'passed' | 'failed'> {
  if (text === undefined) throw new SetupError('the test runner ended without a report', 'its own words are above');
  const { testResults, numPassedTests, numFailedTests } = JSON.parse(text) as Report; // vitest wrote it
  const brokenFiles = testResults.filter(
    ({ status, assertionResults }) => status === 'failed' && assertionResults.every((test) => test.status !== 'failed'),
  );
  return { files: testResults.length, passed: numPassedTests, failed: numFailedTests + brokenFiles.length };
}
