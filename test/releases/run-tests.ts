import { chmod, mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { outcomeVariable, readOutcome, type Outcome } from '../runner/outcome.js';
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
    const reporters = ['--reporter=default', `--reporter=${INSIDE}/test/dist/runner/outcome.js`];
    const vitest = [
      'node',
      'node_modules/vitest/vitest.mjs',
      'run',
      '--configLoader=runner',
      '--project=ceph',
      '--project=faults',
      ...reporters,
    ];
    const binds = [node, { from: checkout, to: INSIDE, readOnly: true }, { from: tmp, to: '/tmp' }];
    const env = { HOME: '/root', [outcomeVariable]: '/tmp/outcome.json' };
    const ended = await runInRoot(root, [...vitest, ...only, ...vitestArgs], { binds, cwd: INSIDE, signal, env });
    signal.throwIfAborted();
    const counts = countOutcome(await readOutcome(join(tmp, 'outcome.json')), !ended.failed);
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

/** What a run comes to in the table. `exitsWell`: vitest may fail for what no test stands for, such as an option that it does not know. */
export function countOutcome(
  outcome: Outcome | undefined,
  exitsWell: boolean,
): Pick<Row, 'files' | 'passed' | 'failed'> {
  if (outcome === undefined) throw new SetupError('the test runner ended without a report', 'its own words are above');
  const { files, passed, failures } = outcome;
  return { files, passed, failed: Math.max(failures.length, exitsWell ? 0 : 1) };
}
