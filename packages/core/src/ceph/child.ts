import type { Readable, Writable } from 'node:stream';
import { execa } from 'execa';
import { StderrTail } from './stderr-tail.js';

export interface Command {
  readonly program: string;
  readonly args: readonly string[];
}

/** How a child ended: by exiting, by a signal, or not started at all (`failure`: the system's code, such as ENOENT). */
export interface ChildEnd {
  readonly exitCode: number | undefined;
  readonly signal: string | undefined;
  readonly failure: string | undefined;
  /** Tail of its standard error, at most 64 KiB. */
  readonly stderr: string;
}

export interface ChildOptions {
  /** Whether the caller writes to the child's standard input; otherwise it is empty. */
  readonly input: boolean;
  /** Milliseconds between TERM and KILL. */
  readonly killGraceMs: number;
  /** Called on every sign of life on standard error. */
  readonly onStderr?: () => void;
}

/** A running child. Whoever starts one waits for `ended` before letting go of it. */
export interface Child {
  readonly stdin: Writable | null;
  /** Must be read (or destroyed) by whoever started the child; the child waits when it is full. */
  readonly stdout: Readable;
  /** Resolves when the child is gone and its output has been read to the end. Never rejects. */
  readonly ended: Promise<ChildEnd>;
  /** Sends TERM, and KILL after the grace time. Does nothing when it is gone already. */
  terminate(): void;
}

/** What a Ceph program may see of our environment: no CEPH_ARGS or CEPH_CONF, and the same locale and zone everywhere. */
export const childEnvironment = (): Record<string, string | undefined> => ({
  PATH: process.env['PATH'],
  LD_LIBRARY_PATH: process.env['LD_LIBRARY_PATH'],
  PYTHONPATH: process.env['PYTHONPATH'],
  LC_ALL: 'C',
  TZ: 'UTC',
});

/** Starts a program. Never throws: what prevents the start is told by `ended`. */
export const startChild = ({ program, args }: Command, options: ChildOptions): Child => {
  const subprocess = execa(program, args, {
    stdin: options.input ? 'pipe' : 'ignore',
    buffer: false,
    encoding: 'buffer',
    reject: false,
    env: childEnvironment(),
    extendEnv: false,
    forceKillAfterDelay: options.killGraceMs,
    // A child that takes input ends by itself, cleanly, when we die and its input closes. A signal, from our exit or from
    // Ctrl-C in a terminal, would leave its lock on the image for 30 s: hence also a process group of its own.
    cleanup: !options.input,
    detached: options.input,
  });
  const tail = new StderrTail(subprocess.stderr, options.onStderr ?? (() => {}));
  // A broken pipe is only the symptom of the child's end.
  subprocess.stdin?.on('error', () => {});
  subprocess.stdout.on('error', () => {});
  return {
    stdin: subprocess.stdin,
    stdout: subprocess.stdout,
    ended: subprocess.then((result) => ({
      exitCode: result.exitCode,
      signal: result.signal,
      failure: result.exitCode === undefined && result.signal === undefined ? (result.code ?? 'unknown') : undefined,
      stderr: tail.text,
    })),
    terminate: () => {
      subprocess.once('exit', () => {
        // A wrapper script may leave behind children of its own that hold on to these.
        subprocess.stdout.destroy();
        subprocess.stderr.destroy();
      });
      subprocess.kill();
    },
  };
};
