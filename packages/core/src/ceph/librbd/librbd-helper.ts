import { stat } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { abortReason, FerryError, throwIfAborted } from '../../errors/ferry-error.js';
import type { ErrorCode } from '../../errors/registry.js';
import { pauseMs, type BackOff } from '../../lifecycle/back-off.js';
import type { CephLog, Deadlines } from '../rbd-runner.js';
import { HelperProcess, type CallEnd, type Connected } from './helper-process.js';
import { errnoText, failureError, type Asked } from './librbd-errors.js';
import { readingVerbs, type Verb, type Verbs } from './protocol.js';

export interface HelperOptions {
  readonly conf: string;
  readonly user: string;
  readonly keyring: string | undefined;
  readonly concurrency: number;
  readonly deadlines: Pick<Deadlines, 'commandMs' | 'stallMs' | 'connectMs' | 'leastAgeMs'>;
  readonly log: CephLog;
  /** Another program than the helper's own, for tests. */
  readonly program?: string;
}

export interface CallSettings {
  readonly signal?: AbortSignal | undefined;
  /** Whether its time grows with the image (or the pool): then it is watched by its signs of life, and has no deadline. */
  readonly long?: boolean;
}

/** How often a call that only reads is made again when its helper ended under it. */
const mostAttempts = 3;
/** How long other calls of a helper may go on when one of them makes it be ended. Most take a tenth of a second. */
const othersMs = 2_000;
/** How long a dead client stays shut out, in seconds: longer than any of its messages can be on their way. */
const fenceSeconds = 60;
/** How long the caller of a change that was broken off waits for that, in milliseconds. */
const fenceMs = 10_000;
/** How often conf and keyring are looked at, in milliseconds. */
const filesMs = 1_000;
/** How long is waited before a new helper is started when the last ones ended before they answered anything. */
const startBackOff: BackOff = { firstMs: 100, longestMs: 10_000 };
/** What a client is told that was shut out of the cluster: ENOTCONN, ESHUTDOWN. */
const shutOut: readonly number[] = [107, 108];
/** What a client is told that lacks a right: EPERM, EACCES. */
const denied: readonly number[] = [1, 13];
/** How old a connection is, in milliseconds, when a right that it lacks may have been given since: it knows those of its beginning. */
const oldRightsMs = 2_000;

interface Current {
  readonly process: HelperProcess;
  readonly files: string;
}

/**
 * Keeps one helper for a cluster: starts it when it is needed, and again when it has ended. A call that does not end in time costs the
 * helper, since a thread that hangs in librbd cannot be freed; it takes nothing with it but what was under way, and what only reads is
 * done again. Before whoever asked for a change hears that it was broken off, the dead client is shut out of the cluster: what it had
 * sent can do nothing any more, and the lock that it may have held is free.
 */
export class LibrbdHelper {
  readonly #options: HelperOptions;
  #current: Current | null = null;
  #failures = 0;
  /** When the next helper may be started, by `performance.now()`. */
  #notBefore = 0;
  #looked = { at: 0, files: '' };

  constructor(options: HelperOptions) {
    this.#options = options;
  }

  /** Starts a helper, and answers once it has loaded the libraries: what it is, or why it cannot be used. */
  async test(): Promise<{ kind: 'usable'; librbd: string } | { kind: 'unusable'; why: string }> {
    const process = await this.#ensure();
    const loaded = await within(this.#options.deadlines.connectMs, process.loaded);
    if (loaded === null) return { kind: 'unusable', why: 'the libraries could not be loaded in time' };
    if (loaded.kind === 'loaded') return { kind: 'usable', librbd: loaded.librbd };
    return { kind: 'unusable', why: loaded.kind === 'unusable' ? loaded.why : loaded.how };
  }

  /** Ends the helper for good: it was not chosen. */
  async end(): Promise<void> {
    this.#current?.process.kill();
    await this.#current?.process.ended;
    this.#current = null;
  }

  /** The helper that gets the next call, by its process id and by what the cluster knows it by; null when there is none. For tests. */
  async client(): Promise<{ pid: number; address: string } | null> {
    const process = this.#current?.process;
    const connected = await process?.connected;
    if (process?.pid === undefined || connected?.kind !== 'connected') return null;
    return { pid: process.pid, address: connected.address };
  }

  /** The fsid of the cluster that it is connected to. @throws CEPH_UNAVAILABLE */
  async fsid(asked: Asked): Promise<string> {
    const connected = await (await this.#connected(asked)).connected;
    if (connected.kind === 'connected') return connected.fsid;
    throw notConnected(connected, asked, 0);
  }

  /** @throws CEPH_UNAVAILABLE, CEPH_TIMEOUT, or what the verb's failure means; the signal's reason */
  async call<V extends Verb>(
    verb: V,
    ask: Verbs[V]['ask'],
    asked: Asked,
    settings: CallSettings = {},
  ): Promise<Verbs[V]['answer']> {
    const begin = performance.now();
    throwIfAborted(settings.signal);
    try {
      for (let attempt = 1; ; attempt += 1) {
        const process = await this.#connected(asked);
        throwIfAborted(settings.signal);
        const end = await this.#attempt(process, { verb, ask, asked, settings });
        if (end.kind === 'answer') return end.answer;
        if (attempt < mostAttempts && this.#mayTryAgain(process, verb, end)) continue;
        throw end.kind === 'failure' ? failureError(end.failure, asked) : await this.#lost(process, asked);
      }
    } finally {
      const ms = Math.round(performance.now() - begin);
      this.#options.log.debug({ ceph: asked.what, ms }, 'called librbd');
    }
  }

  async #attempt<V extends Verb>(
    process: HelperProcess,
    { verb, ask, asked, settings }: { verb: V; ask: Verbs[V]['ask']; asked: Asked; settings: CallSettings },
  ): Promise<CallEnd<V>> {
    const { signal, long = false } = settings;
    const { commandMs, stallMs, leastAgeMs } = this.#options.deadlines;
    const begin = performance.now();
    const patienceMs = long ? stallMs : commandMs;
    const late = new FerryError(
      'CEPH_TIMEOUT',
      `cannot ${asked.what}: librbd ${long ? 'made no progress for' : 'took longer than'} ${patienceMs / 1000} s`,
    );
    let giveUp: (why: FerryError) => void = () => {};
    const gaveUp = new Promise<FerryError>((resolve) => {
      giveUp = resolve;
    });
    const timer = setTimeout(giveUp, patienceMs, late);
    const calling = process.call(verb, ask, () => timer.refresh());
    // A change goes on for a moment: to break it off costs the helper, and most end by themselves at once.
    let aborting: NodeJS.Timeout | undefined;
    const onAbort = (): void => {
      calling.cancel();
      const waitMs = readingVerbs.has(verb) ? 0 : Math.max(0, begin + leastAgeMs - performance.now());
      if (signal !== undefined) aborting = setTimeout(giveUp, waitMs, abortReason(signal));
    };
    signal?.addEventListener('abort', onAbort);
    try {
      const end = await Promise.race([calling.ended, gaveUp]);
      if (!(end instanceof FerryError)) {
        if (signal?.aborted === true && !readingVerbs.has(verb)) throw abortReason(signal);
        return end;
      }
      if (end !== late && readingVerbs.has(verb)) {
        // Nobody waits for it any more, but if it hangs its thread must come back some time.
        void this.#watchLeft(process, calling.ended, patienceMs);
        throw end;
      }
      calling.giveUp();
      await this.#endHelper(process);
      throw end;
    } finally {
      clearTimeout(timer);
      clearTimeout(aborting);
      signal?.removeEventListener('abort', onAbort);
    }
  }

  /** Whether a call that failed so may do better through another helper. One that may have changed something is left to the caller. */
  #mayTryAgain(process: HelperProcess, verb: Verb, end: CallEnd<Verb>): boolean {
    if (end.kind === 'refused') return true;
    if (end.kind === 'lost') return readingVerbs.has(verb);
    if (end.kind === 'answer') return false;
    const isShutOut = shutOut.includes(end.failure.errno);
    const mayHaveRights = denied.includes(end.failure.errno) && process.ageMs > oldRightsMs;
    if (isShutOut || mayHaveRights) this.#retire(process);
    return readingVerbs.has(verb) && (isShutOut || mayHaveRights);
  }

  async #watchLeft(process: HelperProcess, ended: Promise<unknown>, patienceMs: number): Promise<void> {
    if ((await within(patienceMs, ended, { ref: false })) === null) await this.#endHelper(process);
  }

  /** A helper that is connected and takes calls. It may be retired at any moment, and then refuses. */
  async #connected(asked: Asked): Promise<HelperProcess> {
    const { connectMs, commandMs } = this.#options.deadlines;
    const longestMs = Math.min(connectMs, commandMs) + othersMs;
    for (;;) {
      const process = await this.#ensure();
      const connected = await within(longestMs, process.connected);
      if (connected?.kind !== 'connected') {
        this.#retire(process);
        process.kill();
        throw notConnected(connected, asked, longestMs);
      }
      if (!process.isRetired) return process;
    }
  }

  async #ensure(): Promise<HelperProcess> {
    const files = await this.#files();
    // Another key, or other monitors: what is connected with the old ones may go on for long, and then fail for ever.
    if (this.#current !== null && this.#current.files !== files) this.#retire(this.#current.process);
    for (let waitMs = this.#waitMs(); waitMs > 0; waitMs = this.#waitMs()) await sleep(waitMs);
    this.#current ??= this.#start(files);
    return this.#current.process;
  }

  #waitMs(): number {
    return this.#current === null ? this.#notBefore - performance.now() : 0;
  }

  #start(files: string): Current {
    const { conf, user, keyring, concurrency, deadlines, program } = this.#options;
    const connectSeconds = Math.max(1, Math.ceil(Math.min(deadlines.connectMs, deadlines.commandMs) / 1000));
    const process = new HelperProcess({ conf, user, keyring, connectSeconds, concurrency }, program);
    void this.#whenEnded(process);
    return { process, files };
  }

  async #whenEnded(process: HelperProcess): Promise<void> {
    const { how } = await process.ended;
    this.#options.log.debug({ how }, 'the helper that calls librbd has ended');
    // One that never got so far as to try the cluster would do so for ever, as quickly as it can be started.
    this.#failures = (await process.connected).kind === 'ended' ? this.#failures + 1 : 0;
    if (this.#failures > 0) this.#notBefore = performance.now() + pauseMs(startBackOff, this.#failures);
    this.#retire(process);
    await this.#fenced(process);
  }

  readonly #fences = new WeakMap<HelperProcess, Promise<void>>();

  /** Shuts the client of a helper that ended out of the cluster, if a change was under way. Never rejects. */
  #fenced(process: HelperProcess): Promise<void> {
    const fenced = this.#fences.get(process) ?? within(fenceMs, this.#fence(process)).then(() => {});
    this.#fences.set(process, fenced);
    return fenced;
  }

  async #fence(process: HelperProcess): Promise<void> {
    const [{ lostChanges }, connected] = await Promise.all([process.ended, process.connected]);
    if (!lostChanges || connected.kind !== 'connected') return;
    const { address } = connected;
    try {
      const asked = { what: `shut the client ${address} out` };
      const next = await this.#connected(asked);
      const end = await next.call('blocklist', { address, seconds: fenceSeconds }).ended;
      if (end.kind === 'failure') throw failureError(end.failure, asked);
      this.#options.log.debug({ address }, 'shut out a client that was ended during a change');
    } catch (thrown) {
      const { message } = thrown as Error;
      this.#options.log.warn({ address, error: message }, 'could not shut out a client that was ended during a change');
    }
  }

  async #lost(process: HelperProcess, { what }: Asked): Promise<FerryError> {
    const { how } = await process.ended;
    await this.#fenced(process);
    return new FerryError('CEPH_UNAVAILABLE', `cannot ${what}: the helper that calls librbd ended: ${how}`);
  }

  /** It gets no more calls, and ends when those that it has are done. */
  #retire(process: HelperProcess): void {
    if (this.#current?.process === process) this.#current = null;
    void process.retire(this.#options.deadlines.stallMs);
  }

  /** Ends a helper in which a call hangs. The others get a moment; new calls go to the next one at once. */
  async #endHelper(process: HelperProcess): Promise<void> {
    this.#retire(process);
    await process.othersEnded(othersMs);
    process.kill();
    await process.ended;
    await this.#fenced(process);
  }

  async #files(): Promise<string> {
    const { conf, keyring } = this.#options;
    const now = performance.now();
    if (this.#looked.files === '' || now - this.#looked.at > filesMs) {
      const files = await Promise.all([conf, keyring].map(async (path) => (path === undefined ? '' : stateOf(path))));
      this.#looked = { at: now, files: files.join(' ') };
    }
    return this.#looked.files;
  }
}

/** @param connected null when nothing came within so long */
const notConnected = (
  connected: Exclude<Connected, { kind: 'connected' }> | null,
  { what }: Asked,
  longestMs: number,
): FerryError => {
  const cannot = (code: ErrorCode, why: string) => new FerryError(code, `cannot ${what}: ${why}`);
  if (connected === null)
    return cannot('CEPH_UNAVAILABLE', `no connection to the cluster within ${longestMs / 1000} s`);
  switch (connected.kind) {
    case 'not-connected':
      return cannot('CEPH_UNAVAILABLE', `the cluster was not reached: ${errnoText(connected.failure)}`);
    case 'unusable':
      return cannot('CEPH_NOT_INSTALLED', `librbd cannot be used: ${connected.why}`);
    case 'ended':
      return cannot('CEPH_UNAVAILABLE', `the helper that calls librbd ended: ${connected.how}`);
  }
};

const stateOf = async (path: string): Promise<string> => {
  try {
    const { ino, mtimeMs, size } = await stat(path);
    return `${ino}:${mtimeMs}:${size}`;
  } catch {
    return 'none';
  }
};

/** What comes within so long, or null. */
const within = async <T>(ms: number, what: Promise<T>, { ref = true } = {}): Promise<T | null> => {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<null>((resolve) => {
    timer = setTimeout(resolve, ms, null);
    if (!ref) timer.unref();
  });
  try {
    return await Promise.race([what, late]);
  } finally {
    clearTimeout(timer);
  }
};
