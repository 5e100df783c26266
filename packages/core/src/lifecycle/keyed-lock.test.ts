import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FerryError } from '../errors/ferry-error.js';
import { KeyedLock, type Release } from './keyed-lock.js';

type Mode = 'exclusive' | 'shared';

/** Lets every promise that can settle do so. */
const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Acquires and notes what came of it. */
const ask = (lock: KeyedLock, key: string, mode: Mode = 'exclusive', signal?: AbortSignal) => {
  const asked: { release?: Release; error?: unknown } = {};
  lock.acquire(key, { mode, signal }).then(
    (release) => {
      asked.release = release;
    },
    (error: unknown) => {
      asked.error = error;
    },
  );
  return asked;
};

describe('a keyed lock', () => {
  it('lets one exclusive holder in at a time, first come first served', async () => {
    const lock = new KeyedLock();
    const all = [ask(lock, 'a'), ask(lock, 'a'), ask(lock, 'a')];
    for (const [index] of all.entries()) {
      await settle();
      expect(all.map(({ release }) => release !== undefined)).toEqual(all.map((_, other) => other <= index));
      all[index]?.release?.();
    }
  });

  it('keeps keys apart, also those that sound like parts of an object', async () => {
    const lock = new KeyedLock();
    for (const key of ['a', 'b', '', 'a ', '__proto__', 'constructor']) {
      expect(lock.tryAcquire(key), key).toBeDefined();
      expect(lock.tryAcquire(key), key).toBeUndefined();
    }
  });

  it('lets shared holders in together, and an exclusive one after the last of them', async () => {
    const lock = new KeyedLock();
    const readers = [ask(lock, 'a', 'shared'), ask(lock, 'a', 'shared')];
    const writer = ask(lock, 'a');
    await settle();
    expect(readers.every(({ release }) => release !== undefined)).toBe(true);
    readers[0]?.release?.();
    await settle();
    expect(writer.release).toBeUndefined();
    readers[1]?.release?.();
    await settle();
    expect(writer.release).toBeDefined();
  });

  it('does not let shared holders past an exclusive one that waits', async () => {
    const lock = new KeyedLock();
    const first = ask(lock, 'a', 'shared');
    const writer = ask(lock, 'a');
    const late = ask(lock, 'a', 'shared');
    expect(lock.tryAcquire('a', 'shared')).toBeUndefined();
    await settle();
    expect(late.release).toBeUndefined();
    first.release?.();
    await settle();
    expect(writer.release).toBeDefined();
    expect(late.release).toBeUndefined();
    writer.release?.();
    await settle();
    expect(late.release).toBeDefined();
  });

  it('lets those behind in when the one that held them up gives up waiting', async () => {
    const lock = new KeyedLock();
    ask(lock, 'a', 'shared');
    const controller = new AbortController();
    const writer = ask(lock, 'a', 'exclusive', controller.signal);
    const late = ask(lock, 'a', 'shared');
    controller.abort(new FerryError('JOB_INTERRUPTED', 'stopping'));
    await settle();
    expect(writer.error).toMatchObject({ code: 'JOB_INTERRUPTED' });
    expect(late.release).toBeDefined();
  });

  it('throws for a signal that is aborted already, though the lock is free', async () => {
    const lock = new KeyedLock();
    await expect(lock.acquire('a', { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'CANCELLED' });
    expect(lock.tryAcquire('a')).toBeDefined();
  });

  it('stays held by one who was let in before the signal aborted, and those behind keep their place', async () => {
    const lock = new KeyedLock();
    const controller = new AbortController();
    const release = lock.tryAcquire('a');
    const next = ask(lock, 'a', 'exclusive', controller.signal);
    const behind = ask(lock, 'a');
    release?.();
    controller.abort();
    await settle();
    expect(next.release).toBeDefined();
    expect(behind.release).toBeUndefined();
    next.release?.();
    await settle();
    expect(behind.release).toBeDefined();
  });

  it('is given up once, however often that is said', async () => {
    const lock = new KeyedLock();
    const first = lock.tryAcquire('a', 'shared');
    const second = lock.tryAcquire('a', 'shared');
    first?.();
    first?.();
    expect(lock.tryAcquire('a')).toBeUndefined();
    second?.();
    expect(lock.tryAcquire('a')).toBeDefined();
  });
});

/** The same lock, as simple as it can be: who holds it, and who waits, in order. */
class Model {
  holders: { id: number; mode: Mode }[] = [];
  waiting: { id: number; mode: Mode }[] = [];

  ask(id: number, mode: Mode): void {
    this.waiting.push({ id, mode });
    this.#letIn();
  }

  leave(id: number): void {
    this.holders = this.holders.filter((holder) => holder.id !== id);
    this.waiting = this.waiting.filter((waiter) => waiter.id !== id);
    this.#letIn();
  }

  #letIn(): void {
    for (let next = this.waiting[0]; next !== undefined && this.#admits(next.mode); next = this.waiting[0]) {
      this.holders.push(next);
      this.waiting.shift();
    }
  }

  #admits(mode: Mode): boolean {
    return this.holders.length === 0 || (mode === 'shared' && this.holders.every((holder) => holder.mode === 'shared'));
  }
}

type Step =
  | { readonly kind: 'ask'; readonly key: string; readonly mode: Mode }
  | { readonly kind: 'try'; readonly key: string; readonly mode: Mode }
  | { readonly kind: 'release'; readonly pick: number }
  | { readonly kind: 'abort'; readonly pick: number };

const key = fc.constantFrom('a', 'b');
const mode = fc.constantFrom<Mode>('exclusive', 'shared');
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ kind: fc.constant('ask' as const), key, mode }),
  fc.record({ kind: fc.constant('try' as const), key, mode }),
  fc.record({ kind: fc.constant('release' as const), pick: fc.nat() }),
  fc.record({ kind: fc.constant('abort' as const), pick: fc.nat() }),
);

describe('any order of asking, trying, giving up and aborting', () => {
  it('lets in exactly those whom the model lets in', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
        const lock = new KeyedLock();
        const models = new Map([
          ['a', new Model()],
          ['b', new Model()],
        ]);
        const modelOf = (name: string) => models.get(name) ?? new Model();
        const people: { id: number; key: string; controller: AbortController; asked: ReturnType<typeof ask> }[] = [];
        const compare = (): void => {
          for (const [name, model] of models) {
            const inside = people.filter((each) => each.key === name && each.asked.release !== undefined);
            expect(new Set(inside.map(({ id }) => id))).toEqual(new Set(model.holders.map(({ id }) => id)));
          }
        };
        const leave = (id: number): void => {
          const at = people.findIndex((each) => each.id === id);
          const [gone] = people.splice(at, 1);
          if (gone !== undefined) modelOf(gone.key).leave(id);
        };
        let nextId = 0;
        for (const each of steps) {
          if (each.kind === 'ask') {
            const id = (nextId += 1);
            const controller = new AbortController();
            people.push({ id, key: each.key, controller, asked: ask(lock, each.key, each.mode, controller.signal) });
            modelOf(each.key).ask(id, each.mode);
          } else if (each.kind === 'try') {
            const model = modelOf(each.key);
            const id = (nextId += 1);
            model.ask(id, each.mode);
            const admitted = model.holders.some((holder) => holder.id === id);
            const release = lock.tryAcquire(each.key, each.mode);
            expect(release !== undefined).toBe(admitted);
            if (release === undefined) model.leave(id);
            else people.push({ id, key: each.key, controller: new AbortController(), asked: { release } });
          } else if (people.length > 0) {
            const person = people[each.pick % people.length];
            if (each.kind === 'release' && person?.asked.release !== undefined) {
              person.asked.release();
              leave(person.id);
            } else if (each.kind === 'abort' && person !== undefined) {
              person.controller.abort();
              // Whoever is inside stays inside.
              if (person.asked.release === undefined) leave(person.id);
            }
          }
          await settle();
          compare();
        }
        // When everybody has left, both keys are free.
        for (const { controller } of people) controller.abort();
        await settle();
        for (const { asked } of people) asked.release?.();
        await settle();
        for (const name of ['a', 'b']) expect(lock.tryAcquire(name)).toBeDefined();
      }),
      { numRuns: 150 },
    );
  });
});
