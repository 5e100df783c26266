import { Connection } from './connection.js';
import { loadNative, maxCalls, type Native } from './native.js';
import { NativeError } from './native-failure.js';
import type { FromHelper, NativeFailure, StartMessage, ToHelper, Verb } from './protocol.js';
import { handlers } from './verbs.js';

/**
 * The program of the helper: a child of a daemon that calls librbd, where a wrong pointer or a hanging call can do no more than end it.
 * Started by `HelperProcess`, and nobody else.
 */

/** How long calls that are under way may go on when the daemon is gone: a change that is cut off leaves a lock for 30 s. */
const lastCallsMs = 2_000;

const say = (message: FromHelper): void => {
  // The channel closes with the daemon, and then so do we.
  if (process.connected) process.send?.(message, undefined, undefined, () => {});
};

/** No orderly end: that would wait for threads that hang in a call, and for what Ceph's libraries do when they are unloaded. */
const end = (): void => {
  process.kill(process.pid, 'SIGKILL');
};

const einval = 22;

/** To C it would be the end of the text, and so another name. */
const holdsNul = (value: unknown): boolean =>
  typeof value === 'string'
    ? value.includes('\0')
    : typeof value === 'object' && value !== null && Object.values(value).some(holdsNul);

class Calls {
  readonly #connection: Promise<Connection | null>;
  readonly #waiting: (() => void)[] = [];
  readonly #endings = new Map<number, AbortController>();
  #running = 0;

  constructor(connection: Promise<Connection | null>) {
    this.#connection = connection;
  }

  get underWay(): number {
    return this.#endings.size;
  }

  async call(id: number, verb: Verb, ask: unknown): Promise<void> {
    const ending = new AbortController();
    this.#endings.set(id, ending);
    await this.#turn();
    try {
      const connection = await this.#connection;
      if (connection === null) return;
      const onAlive = (): void => {
        say({ kind: 'alive', id });
      };
      if (holdsNul(ask)) throw new NativeError({ errno: einval, at: 'call', call: verb });
      const handler = handlers[verb] as (...args: unknown[]) => Promise<never>;
      say({ kind: 'answer', id, answer: await handler(connection, ask, { onAlive, signal: ending.signal }) });
    } catch (thrown) {
      say({ kind: 'failure', id, failure: failureOf(thrown, verb) });
    } finally {
      this.#endings.delete(id);
      this.#running -= 1;
      this.#waiting.shift()?.();
    }
  }

  cancel(id: number): void {
    this.#endings.get(id)?.abort();
  }

  async #turn(): Promise<void> {
    if (this.#running >= maxCalls) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    this.#running += 1;
  }
}

/** What is no errno is a defect of ours, or of koffi: its words go where a function's name would. */
const failureOf = (thrown: unknown, verb: string): NativeFailure =>
  thrown instanceof NativeError ? thrown.failure : { errno: einval, at: 'call', call: `${verb}: ${String(thrown)}` };

const connect = async (native: Native, message: StartMessage): Promise<Connection | null> => {
  try {
    const connection = await Connection.open(native, message);
    say({ kind: 'connected', fsid: connection.fsid, address: connection.address });
    return connection;
  } catch (thrown) {
    say({ kind: 'not-connected', failure: failureOf(thrown, 'connect') });
    return null;
  }
};

const main = (): void => {
  let calls: Calls | null = null;
  process.on('message', (message: ToHelper) => {
    if (message.kind === 'start') {
      const loaded = loadNative().then(
        (native) => {
          say({ kind: 'loaded', librbd: native.librbdVersion });
          return connect(native, message);
        },
        (thrown: unknown) => {
          say({ kind: 'unusable', why: thrown instanceof Error ? thrown.message : String(thrown) });
          return null;
        },
      );
      calls = new Calls(loaded);
    } else if (message.kind === 'call') void calls?.call(message.id, message.verb, message.ask);
    else calls?.cancel(message.id);
  });
  // Whoever stops the daemon may mean its whole group: a call is not cut off for that. We end with the daemon.
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, () => {});
  process.on('disconnect', () => {
    if (calls === null || calls.underWay === 0) end();
    setTimeout(end, lastCallsMs);
    setInterval(() => {
      if (calls?.underWay === 0) end();
    }, 20);
  });
};

main();
