import { createInterface } from 'node:readline';
import { PassThrough, type Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';

/** The repository's root, from the source as from test/dist. */
const root = ((here) => here.slice(0, here.lastIndexOf('/test/') + 1))(fileURLToPath(import.meta.url));

export type DaemonProgram = 'rbdferry-agent' | 'rbdferry-receiver';

/** Path of the command line, a script for Node. */
export const cliPath = `${root}packages/cli/bin/rbdferry`;

/** Path of a daemon's launcher, a program. */
const launcherPath = (program: DaemonProgram): string =>
  `${root}packages/${program.slice('rbdferry-'.length)}/bin/${program}`;

export interface Daemon {
  readonly pid: number;
  /** The port that a receiver bound; 0 for an agent. */
  readonly port: number;
  /** Log records so far. */
  readonly records: readonly Record<string, unknown>[];
  /** Resolves with the first record (past or future) of this message; rejects when the daemon ends before. */
  waitFor(message: string, timeoutMs?: number): Promise<Record<string, unknown>>;
  /** SIGTERM, then waits for the end. Answers the exit status. */
  stop(): Promise<number | undefined>;
  /** SIGKILL, then waits for the end. */
  kill(): Promise<void>;
}

/** Starts a daemon and waits until it is ready. It dies with this process, however that ends. */
export const startDaemon = async (
  program: DaemonProgram,
  config: string,
  options: { env?: Record<string, string> } = {},
): Promise<Daemon> => {
  const child = execa('/usr/bin/setpriv', ['--pdeathsig', 'KILL', launcherPath(program), '--config', config], {
    stdin: 'ignore',
    buffer: { stdout: false, stderr: true },
    reject: false,
    env: options.env ?? {},
  });
  const records: Record<string, unknown>[] = [];
  const arrived = new PassThrough({ objectMode: true }).setMaxListeners(0);
  arrived.resume();
  createInterface({ input: child.stdout }).on('line', (line) => {
    try {
      records.push(JSON.parse(line) as Record<string, unknown>);
    } catch {
      records.push({ msg: line });
    }
    arrived.write({});
  });
  const waitFor = (message: string, timeoutMs = 30_000): Promise<Record<string, unknown>> =>
    new Promise((resolve, reject) => {
      const look = () => {
        const found = records.find((record) => record['msg'] === message);
        if (found === undefined) return;
        clearTimeout(timer);
        arrived.off('data', look);
        resolve(found);
      };
      const timer = setTimeout(() => {
        arrived.off('data', look);
        reject(
          new Error(
            `${program} did not log ${JSON.stringify(message)}; it logged ${JSON.stringify(records.slice(-5))}`,
          ),
        );
      }, timeoutMs);
      arrived.on('data', look);
      void child.then(({ exitCode, stderr }) => {
        clearTimeout(timer);
        look();
        reject(new Error(`${program} ended with ${String(exitCode)}: ${stderr}`));
      });
      look();
    });
  const ready = await waitFor('ready');
  return {
    pid: child.pid ?? 0,
    port: Number(ready['port'] ?? 0),
    records,
    waitFor,
    async stop() {
      child.kill('SIGTERM');
      return (await child).exitCode;
    },
    async kill() {
      child.kill('SIGKILL');
      await child;
    },
  };
};

export interface CliResult {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs the CLI to its end. */
export const runCli = async (
  args: readonly string[],
  options: { timeoutMs?: number; stdout?: Writable } = {},
): Promise<CliResult> => {
  const { exitCode, stdout, stderr } = await execa(process.execPath, [cliPath, ...args], {
    reject: false,
    stdin: 'ignore',
    stdout: options.stdout ?? 'pipe',
    timeout: options.timeoutMs ?? 120_000,
  });
  return { exitCode: exitCode ?? -1, stdout: stdout ?? '', stderr };
};

/** Runs a daemon that is expected not to start, to its end. What it logs is its stdout. */
export const runDaemonToEnd = async (program: DaemonProgram, config: string): Promise<CliResult> => {
  const { exitCode, stdout, stderr } = await execa(launcherPath(program), ['--config', config], {
    reject: false,
    stdin: 'ignore',
    timeout: 20_000,
  });
  return { exitCode: exitCode ?? -1, stdout, stderr };
};
