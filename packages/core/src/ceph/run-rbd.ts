import { throwIfAborted, abortReason, FerryError } from '../errors/ferry-error.js';
import { AdminSocket } from './admin-socket.js';
import { startChild, type Child, type ChildEnd, type Command } from './child.js';
import { classify, type Failure, type Meanings } from './classify.js';
import { clientAddress, endFenced, type Fence } from './fenced-end.js';
import { Pulse } from './pulse.js';
import { whatItSaid } from './said.js';

/** One call of a Ceph program. */
export interface Call extends Command {
  /** For messages, after "cannot": `create snapshot "s1" of image "rbd/vm1"`. */
  readonly what: string;
  readonly meanings: Meanings;
}

/** How long a call may take: in all, or without any output (rbd prints its progress) or answer of the cluster. Milliseconds. */
export type Patience =
  { readonly kind: 'deadline'; readonly ms: number } | { readonly kind: 'stall'; readonly ms: number };

export interface RunOptions {
  readonly patience: Patience;
  readonly killGraceMs: number;
  /**
   * How old the child is when the signal may kill it, in milliseconds: a younger one is about to end, and leaves nothing behind when
   * it does so by itself.
   */
  readonly leastAgeMs: number;
  readonly signal: AbortSignal | undefined;
  /** Of a call that opens an image for writing: what becomes of it once it was killed. */
  readonly fence?: Fence | undefined;
  /** Gets standard output as it comes; its errors end the child and are thrown. */
  readonly onStdout: (chunk: Buffer) => void;
}

/** Whether a child did what it was asked to do. */
export const succeeded = ({ exitCode, signal }: ChildEnd): boolean => exitCode === 0 && signal === undefined;

/** The error of a child that failed: what was tried, and what it said. */
export const callError = (call: Call, end: ChildEnd): FerryError => failureOf(call, end).error;

/** @see callError; `absent` tells whether what the call was about does not exist. */
const failureOf = (call: Call, end: ChildEnd): { error: FerryError; absent: boolean } => {
  const { code, absent, hint }: Failure = classify(end, call.meanings);
  const message = `cannot ${call.what}: ${reasonOf(call, end)}`;
  return { error: new FerryError(code, message, hint === undefined ? {} : { hint }), absent };
};

const reasonOf = ({ program }: Call, { failure, signal, exitCode, stderr }: ChildEnd): string => {
  if (failure !== undefined) return `${JSON.stringify(program)} could not be run (${failure})`;
  const said = whatItSaid(stderr);
  if (signal !== undefined) return `${program} was ended by ${signal}${said === '' ? '' : `: ${said}`}`;
  return said === '' ? `${program} exited with ${exitCode} and said nothing` : said;
};

/** Runs a call to its end. @throws the call's failure, CEPH_TIMEOUT, or the signal's reason */
export const run = async (call: Call, options: RunOptions): Promise<void> => {
  const failure = await attempt(call, options);
  if (failure !== null) throw failure.error;
};

/** Like {@link run}, but answers false when what the call was about does not exist. */
export const runUnlessAbsent = async (call: Call, options: RunOptions): Promise<boolean> => {
  const failure = await attempt(call, options);
  if (failure !== null && !failure.absent) throw failure.error;
  return failure === null;
};

const attempt = async (call: Call, options: RunOptions): Promise<{ error: FerryError; absent: boolean } | null> => {
  throwIfAborted(options.signal);
  const isLong = options.patience.kind === 'stall';
  const socket = isLong || options.fence !== undefined ? new AdminSocket() : null;
  const watch = new Watch(call, options, socket);
  const pulse = isLong && socket !== null ? new Pulse(socket, () => watch.sawOutput()) : null;
  const command = { ...call, args: [...call.args, ...(socket?.args ?? [])] };
  const child = startChild(command, {
    input: false,
    killGraceMs: options.killGraceMs,
    onStderr: () => watch.sawOutput(),
  });
  watch.over(child);
  try {
    await drain(child, (chunk) => {
      watch.sawOutput();
      options.onStdout(chunk);
    });
    const end = await child.ended;
    watch.throwIfGivenUp();
    return succeeded(end) ? null : failureOf(call, end);
  } finally {
    await watch.stop();
    child.terminate();
    await child.ended;
    pulse?.stop();
    socket?.remove();
  }
};

/** Reads to the end, whatever the end is: the child's exit tells whether it was a good one. */
const drain = async ({ stdout }: Child, onChunk: (chunk: Buffer) => void): Promise<void> => {
  await new Promise<void>((resolve, reject) => {
    stdout.on('data', (chunk: Buffer) => {
      try {
        onChunk(chunk);
      } catch (thrown) {
        reject(thrown instanceof Error ? thrown : new Error(String(thrown)));
      }
    });
    stdout.on('close', resolve);
  });
};

/** Ends the child when its time is up or the signal is aborted, and remembers why. */
class Watch {
  readonly #call: Call;
  readonly #options: RunOptions;
  readonly #socket: AdminSocket | null;
  readonly #begin = performance.now();
  #ending: Promise<void> | null = null;
  #child: Child | null = null;
  #timer: NodeJS.Timeout | undefined;
  #killing: NodeJS.Timeout | undefined;
  #why: FerryError | null = null;

  constructor(call: Call, options: RunOptions, socket: AdminSocket | null) {
    this.#call = call;
    this.#options = options;
    this.#socket = socket;
  }

  over(child: Child): void {
    this.#child = child;
    const { patience, signal } = this.#options;
    this.#timer = setTimeout(this.#late, patience.ms);
    signal?.addEventListener('abort', this.#aborted);
  }

  sawOutput(): void {
    if (this.#options.patience.kind === 'stall') this.#timer?.refresh();
  }

  throwIfGivenUp(): void {
    if (this.#why !== null) throw this.#why;
  }

  /** Waits for the end that it has begun to make, if it has. */
  async stop(): Promise<void> {
    clearTimeout(this.#timer);
    clearTimeout(this.#killing);
    this.#options.signal?.removeEventListener('abort', this.#aborted);
    await this.#ending;
  }

  readonly #end = (): void => {
    if (this.#child === null) return;
    const { fence } = this.#options;
    if (fence === undefined || this.#socket === null) this.#child.terminate();
    else this.#ending ??= endFenced(this.#child, clientAddress(this.#socket), fence);
  };

  readonly #late = (): void => {
    const { kind, ms } = this.#options.patience;
    const { program, what } = this.#call;
    const fact = kind === 'deadline' ? 'took longer than' : 'made no progress for';
    this.#why ??= new FerryError('CEPH_TIMEOUT', `cannot ${what}: ${program} ${fact} ${ms / 1000} s`);
    this.#end();
  };

  readonly #aborted = (): void => {
    const { signal, leastAgeMs } = this.#options;
    if (signal !== undefined) this.#why ??= abortReason(signal);
    const leftMs = this.#begin + leastAgeMs - performance.now();
    this.#killing = setTimeout(this.#end, Math.max(0, leftMs));
  };
}
