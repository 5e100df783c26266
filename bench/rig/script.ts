import { execa } from 'execa';
import type { Sample } from '../measure/turns.js';
import { commandLine } from './shell.js';
import { cleanEnvironment, rbdWords, type Site } from './site.js';

/** An image of the source cluster, and its copy on the backup cluster. Both have the snapshot that the next increment builds on. */
export interface Copy {
  readonly image: string;
  readonly target: string;
}

export interface Between {
  readonly source: Site;
  readonly backup: Site;
}

/**
 * What somebody writes who has `rbd` and a shell: a snapshot, the difference through a pipe, and the old snapshot away. Four commands for an
 * image, one image after the other.
 */
export const scriptFor = (
  { source, backup }: Between,
  copies: readonly Copy[],
  { from, to }: { readonly from: string; readonly to: string },
): string => {
  const near = (...args: string[]) => commandLine(rbdWords(source, 'agent', args));
  const far = (...args: string[]) => commandLine(rbdWords(backup, 'receiver', args));
  return copies
    .flatMap(({ image, target }) => [
      near('snap', 'create', '--no-progress', `${image}@${to}`),
      `${near('export-diff', '--no-progress', '--from-snap', from, `${image}@${to}`, '-')} | ${far('import-diff', '--no-progress', '-', target)}`,
      near('snap', 'rm', '--no-progress', `${image}@${from}`),
    ])
    .join('\n');
};

/** Runs a script, every command of which must succeed. Its CPU is that of all it ran. @throws when it fails */
export const runScript = async (script: string): Promise<Sample> => {
  const begin = performance.now();
  const { stdout } = await execa('bash', ['-e', '-o', 'pipefail'], {
    env: cleanEnvironment,
    extendEnv: false,
    input: `${script}\ntimes`,
    timeout: 900_000,
  });
  const seconds = (performance.now() - begin) / 1000;
  return { seconds, cpu: { script: timesIn(stdout) } };
};

/** The sum of what bash's `times` says of itself and its children, like `0m0.012s 0m0.004s`. */
const timesIn = (text: string): number =>
  [...text.matchAll(/(\d+)m([\d.]+)s/g)].reduce(
    (sum, [, minutes, seconds]) => sum + Number(minutes) * 60 + Number(seconds),
    0,
  );
