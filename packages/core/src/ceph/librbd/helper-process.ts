import { fork, type ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { childEnvironment } from '../child.js';
import { StderrTail } from '../stderr-tail.js';
import {
  readingVerbs,
  type FromHelper,
  type NativeFailure,
  type StartMessage,
  type Verb,
  type Verbs,
} from './protocol.js';

const theProgram = fileURLToPath(new URL('./helper.js', import.meta.url));
/** Each call under way takes a thread of the pool, and so do Node's own file reads. */
const threads = '64';

/** How a call ended: answered, failed, taken along by the end of its helper, or never made because that took no more. */
export type CallEnd<V extends Verb> =
  | { readonly kind: 'answer'; readonly answer: Verbs[V]['answer'] }
  | { readonly kind: 'failure'; readonly failure: NativeFailure }
  | { readonly kind: 'lost' }
  | { readonly kind: 'refused' };

export interface Calling<V extends Verb> {
  readonly ended: Promise<CallEnd<V>>;
  /** Nobody waits for it any more. */
  cancel(): void;
  /** It will not end: whoever waits until the others have ended need not wait for it. */
  giveUp(): void;
}

interface Pending {
  readonly verb: Verb;
  readonly settle: (end: CallEnd<Verb>) => void;
  readonly onAlive: () => void;
  isGivenUp: boolean;
}

/** What became of the attempt to connect. */
export type Connected =
  | { readonly kind: 'connected'; readonly fsid: string; readonly address: string }
  | { readonly kind: 'not-connected'; readonly failure: NativeFailure }
  /** The libraries are not there, or not what was expected. */
  | { readonly kind: 'unusable'; readonly why: string }
  | { readonly kind: 'ended'; readonly how: string };

/** What became of the attempt to load the libraries. */
export type Loaded =
  { readonly kind: 'loaded'; readonly librbd: string } | Exclude<Connected, { kind: 'connected' | 'not-connected' }>;

class Deferred<T> {
  readonly promise: Promise<T>;
  resolve: (value: T) => void = () => {};

  constructor() {
    this.promise = new Promise((resolve) => {
      this.resolve = resolve;
    });
  }
}

/** One helper: a child that calls librbd. It keeps nobody from exiting, and ends with its parent. */
export class HelperProcess {
  readonly loaded: Promise<Loaded>;
  readonly connected: Promise<Connected>;
  /** How it ended, in words, and whether it took a change with it that was under way. Never rejects. */
  readonly ended: Promise<{ readonly how: string; readonly lostChanges: boolean }>;
  readonly #child: ChildProcess;
  readonly #pending = new Map<number, Pending>();
  readonly #said = { loaded: new Deferred<Loaded>(), connected: new Deferred<Connected>() };
  readonly #begin = performance.now();
  #calls = 0;
  #isRetired = false;
  readonly #onSettled = new Set<() => void>();

  /** @param program another one than the helper's own, for tests */
  constructor(options: Omit<StartMessage, 'kind'>, program = theProgram) {
    this.#child = fork(program, {
      serialization: 'advanced',
      execArgv: [],
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      // A process group of its own: Ctrl-C in a terminal must not cut a call off in the middle.
      detached: true,
      env: { ...childEnvironment(), UV_THREADPOOL_SIZE: threads, MALLOC_ARENA_MAX: '2' },
    });
    this.loaded = this.#said.loaded.promise;
    this.connected = this.#said.connected.promise;
    this.#child.on('message', (message) => {
      this.#heard(message as FromHelper);
    });
    this.ended = this.#whenEnded();
    this.#child.send({ kind: 'start', ...options }, () => {});
    this.#child.unref();
    this.#child.channel?.unref();
  }

  /** Of the process, for tests that end or stop it; undefined when it could not be started. */
  get pid(): number | undefined {
    return this.#child.pid;
  }

  get ageMs(): number {
    return performance.now() - this.#begin;
  }

  /** Whether it gets no more calls. */
  get isRetired(): boolean {
    return this.#isRetired || !this.#child.connected;
  }

  call<V extends Verb>(verb: V, ask: Verbs[V]['ask'], onAlive: () => void = () => {}): Calling<V> {
    const id = (this.#calls += 1);
    const ended = new Deferred<CallEnd<V>>();
    const pending: Pending = { verb, settle: ended.resolve, onAlive, isGivenUp: false };
    this.#pending.set(id, pending);
    if (this.isRetired) this.#settle(id, { kind: 'refused' });
    else this.#child.send({ kind: 'call', id, verb, ask }, () => {});
    return {
      ended: ended.promise,
      cancel: () => {
        if (this.#child.connected) this.#child.send({ kind: 'cancel', id }, () => {});
      },
      giveUp: () => {
        pending.isGivenUp = true;
        this.#lookAround();
      },
    };
  }

  /** Resolves when every call has ended but those that were given up, or after so long. */
  async othersEnded(longestMs: number): Promise<void> {
    const done = new Deferred<null>();
    const look = (): void => {
      if ([...this.#pending.values()].every(({ isGivenUp }) => isGivenUp)) done.resolve(null);
    };
    this.#onSettled.add(look);
    const timer = setTimeout(done.resolve, longestMs, null);
    look();
    await done.promise;
    clearTimeout(timer);
    this.#onSettled.delete(look);
  }

  /** Lets the calls that are under way end, and then ends it. It gets no more. */
  async retire(longestMs: number): Promise<void> {
    this.#isRetired = true;
    await this.othersEnded(longestMs);
    if (this.#child.connected) this.#child.disconnect();
  }

  /** Ends it at once. */
  kill(): void {
    this.#child.kill('SIGKILL');
  }

  #heard(message: FromHelper): void {
    switch (message.kind) {
      case 'loaded':
        this.#said.loaded.resolve(message);
        break;
      case 'unusable':
        this.#said.loaded.resolve(message);
        this.#said.connected.resolve(message);
        break;
      case 'not-connected':
      case 'connected':
        this.#said.connected.resolve(message);
        break;
      case 'alive':
        this.#pending.get(message.id)?.onAlive();
        break;
      case 'answer':
      case 'failure':
        this.#settle(message.id, message);
    }
  }

  #settle(id: number, end: CallEnd<Verb>): void {
    this.#pending.get(id)?.settle(end);
    this.#pending.delete(id);
    this.#lookAround();
  }

  #lookAround(): void {
    for (const look of this.#onSettled) look();
  }

  async #whenEnded(): Promise<{ how: string; lostChanges: boolean }> {
    const tail = this.#child.stderr === null ? null : new StderrTail(this.#child.stderr, () => {});
    const how = await new Promise<string>((resolve) => {
      this.#child.on('error', (error) => {
        if (this.#child.pid === undefined) resolve(`it could not be started: ${error.message}`);
      });
      this.#child.on('exit', (code, signal) => {
        resolve(signal === null ? `it exited with ${code}` : `it was ended by ${signal}`);
      });
    });
    const lost = [...this.#pending.entries()];
    for (const [id] of lost) this.#settle(id, { kind: 'lost' });
    const said = tail?.text.trim().split('\n').at(-1) ?? '';
    const words = said === '' ? how : `${how}: ${said}`;
    this.#said.loaded.resolve({ kind: 'ended', how: words });
    this.#said.connected.resolve({ kind: 'ended', how: words });
    return { how: words, lostChanges: lost.some(([, { verb }]) => !readingVerbs.has(verb)) };
  }
}
