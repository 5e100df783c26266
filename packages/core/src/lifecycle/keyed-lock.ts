import { abortReason, throwIfAborted } from '../errors/ferry-error.js';

/** Gives up a lock; calling it again does nothing. */
export type Release = () => void;

/**
 * Mutual exclusion by key within this process: exclusive holders alone, shared holders together, first come first served.
 */
export class KeyedLock {
  readonly #queues = new Map<string, Waiter[]>();
  readonly #held = new Map<string, { exclusive: boolean; count: number }>();

  /** The lock, or undefined when it is taken. */
  tryAcquire(key: string, mode: 'exclusive' | 'shared' = 'exclusive'): Release | undefined {
    if ((this.#queues.get(key)?.length ?? 0) > 0 || !this.#admits(key, mode)) return undefined;
    return this.#take(key, mode);
  }

  /** Waits for the lock. @throws the signal's reason */
  async acquire(
    key: string,
    options: { mode?: 'exclusive' | 'shared'; signal?: AbortSignal | undefined } = {},
  ): Promise<Release> {
    const mode = options.mode ?? 'exclusive';
    throwIfAborted(options.signal);
    const now = this.tryAcquire(key, mode);
    if (now !== undefined) return now;
    return new Promise<Release>((resolve, reject) => {
      const { signal } = options;
      const waiter: Waiter = {
        mode,
        grant: (release) => {
          signal?.removeEventListener('abort', onAbort);
          resolve(release);
        },
      };
      const queue = this.#queues.get(key) ?? [];
      this.#queues.set(key, queue);
      const onAbort = () => {
        queue.splice(queue.indexOf(waiter), 1);
        this.#grantNext(key);
        if (signal !== undefined) reject(abortReason(signal));
      };
      signal?.addEventListener('abort', onAbort, { once: true });
      queue.push(waiter);
    });
  }

  #admits(key: string, mode: 'exclusive' | 'shared'): boolean {
    const held = this.#held.get(key);
    return held === undefined || (mode === 'shared' && !held.exclusive);
  }

  #take(key: string, mode: 'exclusive' | 'shared'): Release {
    const held = this.#held.get(key) ?? { exclusive: mode === 'exclusive', count: 0 };
    held.count += 1;
    this.#held.set(key, held);
    let released = false;
    return () => {
      if (released) return;
      released = true;
      held.count -= 1;
      if (held.count === 0) this.#held.delete(key);
      this.#grantNext(key);
    };
  }

  #grantNext(key: string): void {
    const queue = this.#queues.get(key);
    while (queue?.[0] !== undefined && this.#admits(key, queue[0].mode)) {
      const waiter = queue.shift();
      waiter?.grant(this.#take(key, waiter.mode));
    }
    if (queue?.length === 0) this.#queues.delete(key);
  }
}

interface Waiter {
  readonly mode: 'exclusive' | 'shared';
  grant(release: Release): void;
}
