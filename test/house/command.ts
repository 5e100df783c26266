import { AsyncLocalStorage } from 'node:async_hooks';
import { EventEmitter } from 'node:events';
import type { CliResult } from '../harness/daemon.js';

/** What a command that runs in this process has written so far. */
class Written extends EventEmitter {
  readonly isTTY = false;
  text = '';
  readonly #failure: Error | undefined;

  /** @param failure what each write fails with */
  constructor(failure?: Error) {
    super();
    this.#failure = failure;
  }

  write(text: string, done: (error?: Error) => void = () => {}): boolean {
    if (this.#failure === undefined) this.text += text;
    setImmediate(() => {
      done(this.#failure);
      if (this.#failure !== undefined) this.emit('error', this.#failure);
    });
    return true;
  }
}

/** Thrown where the command asked its process to end, so that it does nothing more. */
class Left extends Error {}

/** What stands in for the command's own process. */
interface Standin {
  readonly stdout: Written;
  readonly stderr: Written;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly exit: (code: number) => never;
}

const current = new AsyncLocalStorage<Standin>();

/** From now on these parts of `process` are those of the command that asks. Outside of one they stay what they are. */
const divertOnce = (() => {
  let done = false;
  return () => {
    if (done) return;
    done = true;
    for (const name of ['stdout', 'stderr', 'env', 'exit'] as const) {
      let real: unknown = process[name];
      Object.defineProperty(process, name, {
        configurable: true,
        get: () => current.getStore()?.[name] ?? real,
        set: (value: unknown) => {
          real = value;
        },
      });
    }
  };
})();

export interface CommandEnd {
  readonly status: number;
  /** To the last byte. */
  readonly stdout: string;
  readonly stderr: string;
}

interface Surroundings {
  /** All of the command's environment. Default: this process's. */
  readonly env?: Standin['env'];
  /** What each of its writes to stdout fails with. */
  readonly stdoutFails?: Error;
}

/**
 * Runs a command line in this process, as if it were one of its own: what it writes and how it ends is its answer. Several may run at once.
 * The CLI must write through `process.stdout`, which it does unless that is a file. Signals, terminals, and whether the process really ends need a
 * real one.
 */
export const commandEnd = async (
  command: () => Promise<number>,
  { env = process.env, stdoutFails }: Surroundings = {},
): Promise<CommandEnd> => {
  divertOnce();
  const [stdout, stderr] = [new Written(stdoutFails), new Written()];
  return new Promise((resolve, reject) => {
    const ended = (status: number) => {
      resolve({ status, stdout: stdout.text, stderr: stderr.text });
    };
    const exit = (status: number): never => {
      ended(status);
      throw new Left();
    };
    current.run({ stdout, stderr, env, exit }, () => {
      command().then(ended, reject);
    });
  });
};

/** {@link commandEnd}, as the harness tells how a process of the CLI ended. */
export const runInProcess = async (command: () => Promise<number>): Promise<CliResult> => {
  const { status, stdout, stderr } = await commandEnd(command);
  return { exitCode: status, stdout: withoutLastNewline(stdout), stderr: withoutLastNewline(stderr) };
};

const withoutLastNewline = (text: string): string => (text.endsWith('\n') ? text.slice(0, -1) : text);
