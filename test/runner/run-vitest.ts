import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { outcomeVariable, readOutcome, type Outcome } from './outcome.js';

const checkout = ((here) => here.slice(0, here.lastIndexOf('/test/') + 1))(fileURLToPath(import.meta.url));

export interface VitestRun {
  /** The program of Node.js that runs it, and is `node` to what it starts. */
  readonly node: string;
  readonly args: readonly string[];
  readonly timeoutMs: number;
}

/** Runs vitest in the checkout, as a process of its own. @throws when it did not come to its end, with its last words */
export const runVitest = async ({ node, args, timeoutMs }: VitestRun): Promise<Outcome> => {
  const dir = await mkdtemp(join(tmpdir(), 'rbdferry-vitest-'));
  const file = join(dir, 'outcome.json');
  try {
    const vitest = [`${checkout}node_modules/vitest/vitest.mjs`, 'run', ...args];
    const reporters = ['--reporter=default', `--reporter=${checkout}test/dist/runner/outcome.js`];
    const ended = await execa(node, [...vitest, ...reporters], {
      cwd: checkout,
      // Nothing of the run that we are part of.
      env: {
        NO_COLOR: '1',
        FORCE_COLOR: undefined,
        VITEST: undefined,
        VITEST_WORKER_ID: undefined,
        VITEST_POOL_ID: undefined,
        [outcomeVariable]: file,
      },
      stdin: 'ignore',
      all: true,
      reject: false,
      timeout: timeoutMs,
    });
    const outcome = await readOutcome(file);
    if (outcome !== undefined && (ended.exitCode === 0 || outcome.failures.length > 0)) return outcome;
    throw new Error(`vitest ended with ${ended.exitCode ?? ended.signal}: ${ended.all.slice(-2_000)}`);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
};
