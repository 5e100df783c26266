import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { ClusterError } from './cluster-error.js';

/** A daemon's end as the keeper saw it. */
export interface DaemonExit {
  readonly name: string;
  readonly code: number | null;
  readonly signal: string | null;
}

type KeeperMessage =
  | { readonly kind: 'ready'; readonly dir: string }
  | { readonly kind: 'started'; readonly name: string; readonly pid: number }
  | ({ readonly kind: 'exited' } & DaemonExit)
  | { readonly kind: 'persisting' }
  | { readonly kind: 'error'; readonly message: string };

const REPLY_TIMEOUT_MS = 10_000;
const STOP_TIMEOUT_MS = 60_000;

/**
 * The parent's end of a keeper process (keeper.mjs), which owns one cluster's directory and
 * daemons and removes both when this process ends, whatever ended it.
 */
export class Keeper {
  readonly pid: number;
  readonly #child: ChildProcessByStdio<Writable, Readable, null>;
  readonly #pids = new Map<string, number>();
  readonly #exits: DaemonExit[] = [];
  readonly #failure = new AbortController();
  readonly #waiters = new Set<(message: KeeperMessage) => void>();
  readonly #closed: Promise<unknown>;
  #dir = '';
  #stopping = false;

  private constructor(child: ChildProcessByStdio<Writable, Readable, null>, pid: number) {
    this.#child = child;
    this.pid = pid;
    this.#closed = once(child, 'exit');
    this.#closed.then(
      () => this.#fail('the keeper ended'),
      () => this.#fail('the keeper could not be run'),
    );
    child.stdin.on('error', () => this.#fail('the keeper does not listen'));
    createInterface({ input: child.stdout }).on('line', (line) => this.#receive(line));
  }

  /** Starts a keeper with an empty directory of its own below `baseDir`. */
  static async start(baseDir: string): Promise<Keeper> {
    // Detached: in its own session neither Ctrl-C nor a kill of our process group reaches it.
    const child = spawn(process.execPath, [keeperProgram(), baseDir], {
      cwd: '/',
      detached: true,
      stdio: ['pipe', 'pipe', 'ignore'],
      env: withoutNodeOptions(process.env),
    });
    if (child.pid === undefined) throw new ClusterError("could not start the cluster's keeper");
    const keeper = new Keeper(child, child.pid);
    const ready = await keeper.#reply((message) => (message.kind === 'ready' ? message : undefined));
    keeper.#dir = ready.dir;
    return keeper;
  }

  get dir(): string {
    return this.#dir;
  }

  /** Process ids of the running daemons, by name. */
  get pids(): ReadonlyMap<string, number> {
    return this.#pids;
  }

  /** Daemons that ended since the start, oldest first. */
  get exits(): readonly DaemonExit[] {
    return this.#exits;
  }

  /** Aborted, with a `ClusterError` as its reason, as soon as a daemon or the keeper ends unasked. */
  get failed(): AbortSignal {
    return this.#failure.signal;
  }

  /** Starts a daemon, which must stay in the foreground; answers its process id. */
  async startDaemon(name: string, argv: readonly string[]): Promise<number> {
    const started = this.#reply((message) =>
      message.kind === 'started' && message.name === name ? message : undefined,
    );
    this.#send({ kind: 'start', name, argv });
    return (await started).pid;
  }

  /** From now on the cluster outlives this process, until its keeper gets SIGTERM. */
  async persist(): Promise<void> {
    const persisting = this.#reply((message) => (message.kind === 'persisting' ? message : undefined));
    this.#send({ kind: 'persist' });
    await persisting;
  }

  /** Lets this process end while the keeper runs; its end then stops the cluster. */
  unref(): void {
    this.#child.unref();
    for (const stream of [this.#child.stdin, this.#child.stdout]) unrefStream(stream);
  }

  /**
   * Kills the daemons and the cluster's clients and removes the directory; resolves when all are gone.
   * @throws ClusterError when something stays, after a minute at the latest
   */
  async stop(): Promise<void> {
    this.#stopping = true;
    this.#child.ref();
    const ended = this.#closed.catch(() => undefined);
    this.#child.kill('SIGTERM');
    this.#child.stdin.end();
    await withDeadline(ended, STOP_TIMEOUT_MS, `keeper ${this.pid} of "${this.#dir}" did not end`);
    if (existsSync(this.#dir)) throw new ClusterError(`"${this.#dir}" could not be removed`);
  }

  #send(message: object): void {
    this.#child.stdin.write(`${JSON.stringify(message)}\n`);
  }

  #receive(line: string): void {
    const message = JSON.parse(line) as KeeperMessage; // our own program wrote it
    if (message.kind === 'started') this.#pids.set(message.name, message.pid);
    if (message.kind === 'exited') this.#daemonExited(message);
    if (message.kind === 'error') this.#fail(message.message);
    for (const waiter of this.#waiters) waiter(message);
  }

  #daemonExited(exit: DaemonExit): void {
    this.#pids.delete(exit.name);
    this.#exits.push(exit);
    this.#fail(describeExit(exit));
  }

  #fail(fact: string): void {
    if (!this.#stopping) this.#failure.abort(new ClusterError(fact));
  }

  async #reply<T extends KeeperMessage>(select: (message: KeeperMessage) => T | undefined): Promise<T> {
    let settle: ((message: KeeperMessage) => void) | undefined;
    const reply = new Promise<T>((resolve, reject) => {
      settle = (message) => {
        const selected = select(message);
        if (selected !== undefined) resolve(selected);
        if (message.kind === 'error') reject(new ClusterError(message.message));
      };
      this.#waiters.add(settle);
    });
    try {
      return await withDeadline(
        Promise.race([reply, this.#endedEarly()]),
        REPLY_TIMEOUT_MS,
        `keeper ${this.pid} did not answer`,
      );
    } finally {
      if (settle !== undefined) this.#waiters.delete(settle);
    }
  }

  async #endedEarly(): Promise<never> {
    await this.#closed;
    throw new ClusterError("the cluster's keeper ended before it answered");
  }
}

/** "osd.0 ended with SIGABRT". */
export function describeExit({ name, code, signal }: DaemonExit): string {
  return `${name} ended with ${signal ?? `exit status ${String(code)}`}`;
}

function keeperProgram(): string {
  // Beside this file in the source tree; from test/dist/ceph it is two folders up.
  const places = ['./keeper.mjs', '../../ceph/keeper.mjs'].map((place) =>
    fileURLToPath(new URL(place, import.meta.url)),
  );
  const found = places.find((place) => existsSync(place));
  if (found === undefined) throw new ClusterError(`no keeper.mjs at ${places.join(' or ')}`);
  return found;
}

function withoutNodeOptions(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const { NODE_OPTIONS: _loadersOfTheTestRunner, ...rest } = env;
  return rest;
}

function unrefStream(stream: Readable | Writable): void {
  if ('unref' in stream && typeof stream.unref === 'function') stream.unref();
}

async function withDeadline<T>(work: Promise<T>, timeoutMs: number, fact: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new ClusterError(`${fact} within ${timeoutMs} ms`)), timeoutMs);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
