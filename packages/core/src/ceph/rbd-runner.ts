import type { z } from 'zod';
import { FerryError, toFerryError } from '../errors/ferry-error.js';
import type { Meanings } from './classify.js';
import type { CallOptions } from './port.js';
import { whileSpace, type AskForSpace } from './pool-space.js';
import type { Fence } from './fenced-end.js';
import { run, runUnlessAbsent, type Call, type Patience, type RunOptions } from './run-rbd.js';
import { fullPoolsSchema, parseAnswer } from './schemas.js';

/** Where is told what was run, and what went wrong without failing anything. */
export interface CephLog {
  debug(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}

export interface RbdCliOptions {
  /** Path of the cluster's ceph.conf. */
  readonly conf: string;
  /** CephX user, without `client.`. */
  readonly user: string;
  /** Path of its keyring; otherwise ceph.conf says where it is. */
  readonly keyring?: string | undefined;
  readonly rbdPath?: string | undefined;
  readonly cephPath?: string | undefined;
  readonly radosPath?: string | undefined;
  readonly deadlines?: Partial<Deadlines> | undefined;
  /** Operations in flight for what goes through whole images; default 40. */
  readonly concurrency?: number | undefined;
  readonly log?: CephLog | undefined;
}

/** All in milliseconds. */
export interface Deadlines {
  /** For a command that does not grow with the image; default 60 s. */
  readonly commandMs: number;
  /** How long a command that does may be without any progress; default 10 min. */
  readonly stallMs: number;
  /** To reach a monitor; default 30 s, and no more than `commandMs`. */
  readonly connectMs: number;
  /** When to look for metadata past `rbd`, which waits for ever for it on a full pool; default 3 s. */
  readonly metadataMs: number;
  /** How long a write may take before it is asked whether its pool is full, where it would wait for ever; default 3 s. */
  readonly fullMs: number;
  /** How long `import-diff` may take to end after its input was closed; default 10 s. */
  readonly closeGraceMs: number;
  /** Between TERM and KILL; default 5 s. */
  readonly killGraceMs: number;
  /**
   * How old a command that does not grow with the image is when it may be killed because nobody waits for it any more; default
   * 2 s. Those that open an image for writing, and `image-meta list` is one, leave a lock on it when they are killed, for which
   * the next one waits 30 s (16.2.15) unless they can be shut out (`fenced-end.ts`). Most end within a tenth of a second.
   */
  readonly leastAgeMs: number;
}

const defaultDeadlines: Deadlines = {
  commandMs: 60_000,
  stallMs: 600_000,
  connectMs: 30_000,
  metadataMs: 3_000,
  fullMs: 3_000,
  closeGraceMs: 10_000,
  killGraceMs: 5_000,
  leastAgeMs: 2_000,
};

/**
 * Against what ceph.conf may say for every client: a socket or a log file that the daemon's user may not make, and debug output, would
 * end up among the errors.
 */
const quiet = ['--admin-socket=', '--log-file=', '--log-to-stderr=false', '--err-to-stderr=true'];

/** How long a client that was killed stays shut out. */
const fenceSeconds = 60;
/** How long whoever killed it waits for that. */
const fenceMs = 10_000;

export const defaultConcurrency = 40;
/** Far above any pool's listing; a bound, not a limit anybody should meet. */
const maxAnswerBytes = 256 * 1024 * 1024;

/** What a command is told and what its failure means. */
export interface Request {
  /** For messages, after "cannot": `remove image "rbd/vm1"`. */
  readonly what: string;
  readonly args: readonly string[];
  readonly meanings?: Meanings;
  /** Whether its time grows with the image (or the pool). */
  readonly long?: boolean;
  /** Whether an answer counts although something it is about did not exist: `rbd ls -l` goes on after such images, and exits with 2. */
  readonly partial?: boolean;
  /** Where it writes; left out of what only reads, and of removals, which a full pool lets through. */
  readonly writesTo?: PoolSpace;
}

/** The pools that a command needs space in. */
export interface PoolSpace {
  readonly pool: string;
  /** The image's data pool, if it has one. */
  readonly dataPool?: (signal: AbortSignal) => Promise<string | null>;
}

/** Runs `rbd` against one cluster as one user. */
export class RbdRunner {
  readonly deadlines: Deadlines;
  readonly concurrencyArg: string;
  readonly #options: RbdCliOptions;

  constructor(options: RbdCliOptions) {
    this.#options = options;
    this.deadlines = withDefaults(options.deadlines ?? {});
    this.concurrencyArg = `--rbd-concurrent-management-ops=${options.concurrency ?? defaultConcurrency}`;
  }

  /** The whole command line of an `rbd` request. */
  rbdCall(request: Request): Call {
    return this.#call(this.#options.rbdPath ?? 'rbd', request);
  }

  /** The whole command line of a `rados` request. */
  radosCall(request: Request): Call {
    return this.#call(this.#options.radosPath ?? 'rados', request);
  }

  /** The whole command line of a `ceph` request. */
  cephCall({ what, args, meanings = {} }: Request): Call {
    const connect = ['--connect-timeout', `${this.#connectSeconds()}`];
    return {
      what,
      meanings,
      program: this.#options.cephPath ?? 'ceph',
      args: [...this.#identity(), ...connect, ...args],
    };
  }

  /** Runs it for what it does. */
  async change(request: Request, options: CallOptions = {}, call = this.rbdCall(request)): Promise<void> {
    await this.#writing(request, options, (signal) => run(call, this.#writeOptions(request, signal)));
  }

  /** Runs it for what it does; answers false when what it is about does not exist. */
  async changeUnlessAbsent(request: Request, options: CallOptions = {}): Promise<boolean> {
    return this.#writing(request, options, (signal) =>
      runUnlessAbsent(this.rbdCall(request), this.#writeOptions(request, signal)),
    );
  }

  /** Shuts out a client that was killed, for longer than anything of it can be on its way. `profile rbd` allows it. */
  readonly fence: Fence = async (address) => {
    const request = {
      what: `shut the client ${address} out`,
      args: ['osd', 'blocklist', 'add', address, `${fenceSeconds}`],
    };
    try {
      await this.text(this.cephCall(request), request, { signal: AbortSignal.timeout(fenceMs) });
      this.#options.log?.debug({ address }, 'shut out a client that was killed');
    } catch (thrown) {
      const { message } = toFerryError(thrown);
      this.#options.log?.warn({ address, error: message }, 'could not shut out a client that was killed');
    }
  };

  /** Whether a pool is full: the question to ask while a request takes long. */
  askForSpace({ what }: Pick<Request, 'what'>, space: PoolSpace): AskForSpace {
    return async (signal) => {
      const full = await this.#fullPools({ signal });
      if (full.length === 0) return null;
      const needed = [space.pool, await space.dataPool?.(signal)];
      const pool = full.find((name) => needed.includes(name));
      return pool === undefined
        ? null
        : new FerryError('CEPH_NO_SPACE', `cannot ${what}: the pool ${JSON.stringify(pool)} is full or over its quota`);
    };
  }

  async #fullPools(options: CallOptions): Promise<string[]> {
    const request = { what: 'see which pools are full', args: ['osd', 'dump', '--format', 'json'] };
    const text = await this.text(this.cephCall(request), request, options);
    return parseAnswer(fullPoolsSchema, text, request.what);
  }

  #writing<T>(
    request: Request,
    { signal }: CallOptions,
    work: (signal: AbortSignal | undefined) => Promise<T>,
  ): Promise<T> {
    const { writesTo } = request;
    if (writesTo === undefined) return this.#timed(request, work(signal));
    const options = { afterMs: this.deadlines.fullMs, signal };
    return this.#timed(request, whileSpace(work, this.askForSpace(request, writesTo), options));
  }

  /** Runs it for its JSON answer. */
  async read<T>(schema: z.ZodType<T>, request: Request, options: CallOptions = {}): Promise<T> {
    return parseAnswer(schema, await this.json(request, options), request.what);
  }

  /** Runs it for its JSON answer, as text. */
  async json(request: Request, options: CallOptions = {}): Promise<string> {
    const call = this.rbdCall({ ...request, args: [...request.args, '--format=json'] });
    const text = await this.text(call, request, options);
    // `image-meta list` prints nothing when there is nothing.
    return text.trim() === '' ? '{}' : text;
  }

  /** Runs a call for its standard output as text. */
  async text(call: Call, request: Request, options: CallOptions = {}): Promise<string> {
    const chunks: Buffer[] = [];
    let bytes = 0;
    const onStdout = (chunk: Buffer): void => {
      bytes += chunk.length;
      if (bytes > maxAnswerBytes)
        throw new FerryError('CEPH_FAILED', `cannot ${call.what}: it answered more than ${maxAnswerBytes} bytes`);
      chunks.push(chunk);
    };
    const runOptions = { ...this.#runOptions(request, options), onStdout };
    await this.#timed<unknown>(
      request,
      request.partial === true ? runUnlessAbsent(call, runOptions) : run(call, runOptions),
    );
    return Buffer.concat(chunks).toString('utf8');
  }

  /** Runs it and hands its output over as it comes, with `--format=json`. */
  async stream(request: Request, onStdout: (chunk: Buffer) => void, options: CallOptions = {}): Promise<void> {
    const call = this.rbdCall({ ...request, args: [...request.args, '--format=json'] });
    await this.#timed(request, run(call, { ...this.#runOptions(request, options), onStdout }));
  }

  #call(program: string, { what, args, meanings = {} }: Request): Call {
    const connect = `--client-mount-timeout=${this.#connectSeconds()}`;
    return { what, meanings, program, args: [...this.#identity(), connect, ...args] };
  }

  #identity(): string[] {
    const { conf, user, keyring } = this.#options;
    // As words of their own: the `ceph` program does not know them with '='.
    return ['--conf', conf, '--id', user, ...(keyring === undefined ? [] : ['--keyring', keyring]), ...quiet];
  }

  #connectSeconds(): number {
    const { connectMs, commandMs } = this.deadlines;
    return Math.max(1, Math.ceil(Math.min(connectMs, commandMs) / 1000));
  }

  #runOptions({ long = false }: Request, { signal }: CallOptions): RunOptions {
    const { commandMs, stallMs, killGraceMs, leastAgeMs } = this.deadlines;
    const patience: Patience = long ? { kind: 'stall', ms: stallMs } : { kind: 'deadline', ms: commandMs };
    return { patience, killGraceMs, leastAgeMs: long ? 0 : leastAgeMs, signal, onStdout: () => {} };
  }

  #writeOptions(request: Request, signal: AbortSignal | undefined): RunOptions {
    return { ...this.#runOptions(request, { signal }), fence: this.fence };
  }

  async #timed<T>({ what }: Request, work: Promise<T>): Promise<T> {
    const begin = performance.now();
    try {
      return await work;
    } finally {
      this.#options.log?.debug({ ceph: what, ms: Math.round(performance.now() - begin) }, 'ran a ceph command');
    }
  }
}

const withDefaults = (given: Partial<Deadlines>): Deadlines => ({
  commandMs: given.commandMs ?? defaultDeadlines.commandMs,
  stallMs: given.stallMs ?? defaultDeadlines.stallMs,
  connectMs: given.connectMs ?? defaultDeadlines.connectMs,
  metadataMs: given.metadataMs ?? defaultDeadlines.metadataMs,
  fullMs: given.fullMs ?? defaultDeadlines.fullMs,
  closeGraceMs: given.closeGraceMs ?? defaultDeadlines.closeGraceMs,
  killGraceMs: given.killGraceMs ?? defaultDeadlines.killGraceMs,
  leastAgeMs: given.leastAgeMs ?? defaultDeadlines.leastAgeMs,
});
