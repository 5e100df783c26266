import { AsyncLocalStorage } from 'node:async_hooks';
import { EventEmitter } from 'node:events';
import type { CliResult } from '../harness/daemon.js';

/** What a command that runs in this process has written so far. */
class Written extends EventEmitter {
  readonly isTTY = false;
  text = '';

  write(text: string, done: (error?: Error) => void = () => {}): boolean {
    this.text += text;
    setImmediate(done);
    return true;
  }
}

interface Outputs {
  readonly stdout: Written;
  readonly stderr: Written;
}

const current = new AsyncLocalStorage<Outputs>();

/** From now on `process.stdout` and `process.stderr` are those of the command that asks. Outside of one they stay what they are. */
const divertOnce = (() => {
  let done = false;
  return () => {
    if (done) return;
    done = true;
    for (const name of ['stdout', 'stderr'] as const) {
      const real = process[name];
      Object.defineProperty(process, name, {
        configurable: true,
        get: () => current.getStore()?.[name] ?? real,
      });
    }
  };
})();

/**
 * Runs a command line in this process, as if it were one of its own: what it writes and how it ends is its answer. Several may run at once.
 * The CLI must write through `process.stdout`, which it does unless that is a file.
 */
export const runInProcess = async (command: () => Promise<number>): Promise<CliResult> => {
  divertOnce();
  const outputs = { stdout: new Written(), stderr: new Written() };
  const exitCode = await current.run(outputs, command);
  return { exitCode, stdout: withoutLastNewline(outputs.stdout.text), stderr: withoutLastNewline(outputs.stderr.text) };
};

const withoutLastNewline = (text: string): string => (text.endsWith('\n') ? text.slice(0, -1) : text);
