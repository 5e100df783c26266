import { execa } from 'execa';
import { cleanEnvironment } from './site.js';

/** A word for a shell. */
export const quote = (word: string): string =>
  /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;

export const commandLine = (words: readonly string[]): string => words.map(quote).join(' ');

export interface ShellRun {
  readonly seconds: number;
  readonly stderr: string;
}

/** Runs a shell pipeline, of which every part must succeed. @throws after ten minutes, or when it fails */
export const runPipeline = async (script: string, timeoutMs = 600_000): Promise<ShellRun> => {
  const begin = performance.now();
  const { stderr } = await execa('bash', ['-o', 'pipefail', '-c', script], {
    env: cleanEnvironment,
    extendEnv: false,
    stdin: 'ignore',
    timeout: timeoutMs,
  });
  return { seconds: (performance.now() - begin) / 1000, stderr };
};
