import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { commandEnd, type CommandEnd } from '../../../test/house/command.js';
import { runRbdBackup } from '../src/rbd-backup/run-rbd-backup.js';
import { runRbdferry } from '../src/run-rbdferry.js';

export const bin = fileURLToPath(new URL('../bin/rbdferry', import.meta.url));
export const oldBin = fileURLToPath(new URL('../bin/rbd_backup', import.meta.url));

export interface CliEnd {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunningCli {
  /** Resolves once stderr holds these words. */
  said(words: string): Promise<void>;
  kill(signal: NodeJS.Signals): void;
  /** Nobody reads stdout any more. */
  closeStdout(): void;
  readonly ended: Promise<CliEnd>;
}

/** Starts the real command as a child process. */
export const startCli = (args: readonly string[], env: Record<string, string> = {}, program = bin): RunningCli => {
  const child = spawn(process.execPath, [program, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: process.env['PATH'], TERM: 'xterm', ...env },
  });
  const texts = { stdout: '', stderr: '' };
  const listeners = new Set<() => void>();
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', (text: string) => {
      texts[name] += text;
      for (const listener of listeners) listener();
    });
  }
  const ended = new Promise<CliEnd>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (status, signal) => {
      resolve({ status, signal, ...texts });
    });
  });
  return {
    ended,
    said: (words) =>
      new Promise((resolve, reject) => {
        const look = () => {
          if (texts.stderr.includes(words)) resolve();
        };
        listeners.add(look);
        look();
        void ended.then((end) => {
          reject(new Error(`it ended without ${JSON.stringify(words)}: ${JSON.stringify(end)}`));
        });
      }),
    kill: (signal) => child.kill(signal),
    closeStdout: () => child.stdout.destroy(),
  };
};

/** The command in a process of its own, to its end: for what only a process can show. */
export const runProcess = (args: readonly string[], env: Record<string, string> = {}, program = bin): Promise<CliEnd> =>
  startCli(args, env, program).ended;

/** Runs `rbdferry` in this process, which takes milliseconds. */
export const runCli = (args: readonly string[], env: Record<string, string> = {}): Promise<CommandEnd> =>
  commandEnd(() => runRbdferry(args), { env });

/** {@link runCli}, or {@link runOld}, on a stdout that takes nothing. */
export const runOnFullDisk = (args: readonly string[], run: typeof runRbdferry = runRbdferry): Promise<CommandEnd> => {
  const stdoutFails = Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' });
  return commandEnd(() => run(args), { env: {}, stdoutFails });
};

/** Runs `rbd_backup` with the words of a line, in this process. */
export const runOld = (line: string, env: Record<string, string> = {}): Promise<CommandEnd> =>
  commandEnd(() => runRbdBackup(line === '' ? [] : line.split(' ')), { env });
