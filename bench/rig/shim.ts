import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { quote } from './shell.js';

/** A folder whose programs come before the system's ones of the same name: give {@link env} to a daemon. */
export interface Shim {
  readonly env: { readonly PATH: string };
}

export const whichProgram = async (name: string): Promise<string> =>
  (await execa('sh', ['-c', `command -v ${name}`])).stdout.trim();

/** Puts shell scripts in the place of programs. `$real` in them is the real program. */
export const makeShim = async (dir: string, scripts: Readonly<Record<string, string>>): Promise<Shim> => {
  await mkdir(dir);
  for (const [name, script] of Object.entries(scripts)) {
    const file = join(dir, name);
    await writeFile(file, `#!/bin/bash\nreal=${quote(await whichProgram(name))}\n${script}\n`);
    await chmod(file, 0o755);
  }
  return { env: { PATH: `${dir}:${process.env['PATH'] ?? ''}` } };
};

/** A program that was run: when, in seconds from the first one's start, and its arguments without those to connect. */
export interface Ran {
  readonly start: number;
  readonly end: number;
  readonly command: string;
}

/** Has a daemon's `rbd` and `ceph` write down what they were asked. */
export const makeRecorder = async (dir: string): Promise<Shim & { ran(): Promise<Ran[]> }> => {
  const log = join(dir, 'log');
  const script = (name: string) =>
    `start=$EPOCHREALTIME\n"$real" "$@"\nstatus=$?\necho "$start $EPOCHREALTIME ${name} $*" >> ${quote(log)}\nexit $status`;
  const shim = await makeShim(dir, { rbd: script('rbd'), ceph: script('ceph') });
  return { ...shim, ran: async () => parseLog(await readFile(log, 'utf8').catch(() => '')) };
};

const parseLog = (text: string): Ran[] => {
  const lines = text.split('\n').filter((line) => line !== '');
  const runs = lines.map((line) => {
    const [start = '', end = '', ...words] = line.split(' ');
    return { start: Number(start), end: Number(end), command: essence(words) };
  });
  const first = Math.min(...runs.map(({ start }) => start));
  return runs
    .map(({ start, end, command }) => ({ start: start - first, end: end - first, command }))
    .sort((a, b) => a.start - b.start);
};

/** Without the options, but for what a transfer is told: `rbd snap create`. */
const essence = (words: readonly string[]): string => {
  const plain = words.filter((word, index) => {
    const before = words[index - 1] ?? '';
    return !word.startsWith('-') && !['--conf', '--id', '--keyring', '--connect-timeout'].includes(before);
  });
  return plain.slice(0, 3).join(' ');
};
