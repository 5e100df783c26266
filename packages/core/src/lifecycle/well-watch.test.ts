import { describe, expect, it, vi } from 'vitest';
import { FerryError } from '../errors/ferry-error.js';
import { createLogger } from '../log/logger.js';
import { WellWatch, type Concern } from './well-watch.js';

/** A watch whose pauses last until the test lets time go on. */
const watching = (concerns: () => readonly Concern[]) => {
  const log = createLogger('test', 'silent');
  const [error, warn, info] = [vi.spyOn(log, 'error'), vi.spyOn(log, 'warn'), vi.spyOn(log, 'info')];
  const ending = new AbortController();
  const pauses: { ms: number; end: () => void }[] = [];
  const looks: boolean[] = [];
  const watch = new WellWatch({
    concerns,
    log,
    signal: ending.signal,
    onLook: (isWell) => looks.push(isWell),
    pause: (ms, signal) =>
      new Promise((resolve) => {
        const end = () => {
          pauses.splice(0, pauses.length, ...pauses.filter((each) => each.end !== end));
          resolve();
        };
        pauses.push({ ms, end });
        signal.addEventListener('abort', end, { once: true });
      }),
  });
  const settle = () => new Promise((resolve) => setImmediate(resolve));
  /** Ends the pauses of so many milliseconds. */
  const after = async (ms: number) => {
    for (const pause of pauses.filter((each) => each.ms === ms)) pause.end();
    await settle();
  };
  const start = async () => {
    await watch.start({ port: 1 });
    const [fields] = [...info.mock.calls, ...warn.mock.calls].find(([, message]) => message === 'ready') ?? [];
    return fields;
  };
  return {
    watch,
    start,
    after,
    settle,
    looks,
    log: { error, warn, info },
    pauses: () => pauses.map(({ ms }) => ms),
    ending,
  };
};

/** Answers with one trouble after the other; null is well. */
const troubled = (name: string, ...troubles: (string | null)[]) => {
  const check = vi.fn(() => {
    const trouble = troubles.length > 1 ? troubles.shift() : troubles[0];
    return trouble == null ? Promise.resolve() : Promise.reject(new FerryError('CEPH_UNAVAILABLE', trouble));
  });
  return { name, check };
};
const told = (error: string) => ({
  what: 'cluster',
  code: 'CEPH_UNAVAILABLE',
  error,
  hint: expect.stringMatching(/./),
});

describe('what is not well', () => {
  it('is told by the start, said once for each trouble, looked at again with longer pauses, and said to be well again', async () => {
    const { start, after, log, pauses, looks } = watching(() => [cluster, fine]);
    const cluster = troubled('cluster', 'no keyring', 'no keyring', 'no pool', null);
    const fine = troubled('certificate', null);
    expect(await start()).toEqual({ port: 1, notWell: ['cluster'] });
    expect(looks.at(-1)).toBe(false);
    for (const ms of [1_000, 2_000, 4_000]) {
      expect(pauses()).toContain(ms);
      await after(ms);
    }
    expect(log.error.mock.calls.map(([fields]) => fields)).toEqual([told('no keyring'), told('no pool')]);
    expect(log.info).toHaveBeenCalledWith({ what: 'cluster' }, 'well again');
    expect(looks.at(-1)).toBe(true);
    expect(pauses()).toEqual([60_000, 60_000]);
    expect(fine.check).toHaveBeenCalledOnce();
  });

  it('is seen also when it was well for long', async () => {
    const { start, after, log, looks } = watching(() => [cluster]);
    const cluster = troubled('cluster', null, null, 'the keyring is gone');
    expect(await start()).toEqual({ port: 1, notWell: [] });
    await after(60_000);
    expect(looks.at(-1)).toBe(true);
    await after(60_000);
    expect(log.error.mock.calls.map(([fields]) => fields)).toEqual([told('the keyring is gone')]);
    expect(looks.at(-1)).toBe(false);
  });

  it('does not hold up the start when it hangs, nor the look at the others', async () => {
    const { start, after, settle, log, looks } = watching(() => [hanging, other, long]);
    let answer = () => {};
    const hanging: Concern = {
      name: 'cluster',
      check: () =>
        new Promise((resolve) => {
          answer = resolve;
        }),
    };
    const other = troubled('certificate', null, 'it has ended');
    const long: Concern = { name: 'pools', isLong: true, check: () => new Promise(() => {}) };
    const starting = start();
    await settle();
    await after(2_000);
    expect(await starting).toEqual({ port: 1, notWell: ['cluster'] });
    expect(log.warn).toHaveBeenCalledWith({ what: 'cluster' }, 'no answer yet');
    expect(looks).toEqual([true, false]);
    await after(60_000);
    expect(log.error).toHaveBeenCalledWith(expect.objectContaining({ what: 'certificate' }), 'not well');
    answer();
    await settle();
    expect(log.info).toHaveBeenCalledWith({ what: 'cluster' }, 'well again');
  });

  it('has work that is done once it is well, and again until that succeeds', async () => {
    const { start, after, log } = watching(() => [{ ...store, first }]);
    const store = troubled('store', 'no pool', null);
    const first = vi.fn<() => Promise<void>>(() => Promise.resolve());
    first.mockRejectedValueOnce(new Error('busy'));
    await start();
    expect(first).not.toHaveBeenCalled();
    await after(1_000);
    expect(log.error).toHaveBeenLastCalledWith(expect.objectContaining({ error: 'busy' }), 'not well');
    await after(2_000);
    expect(log.info).toHaveBeenCalledWith({ what: 'store' }, 'well again');
    await after(60_000);
    expect(first).toHaveBeenCalledTimes(2);
    expect(store.check).toHaveBeenCalledTimes(4);
  });

  it('does not hold up the start by that work', async () => {
    const { start, looks } = watching(() => [{ ...troubled('store', null), first: () => new Promise(() => {}) }]);
    expect(await start()).toEqual({ port: 1, notWell: [] });
    expect(looks).toEqual([true]);
  });

  it('is what is there now: a new concern is seen at a look, one that went is let go', async () => {
    const old = troubled('receiver old', 'it has ended');
    const added = troubled('receiver new', 'it has ended');
    const cluster = troubled('cluster', null);
    let concerns: Concern[] = [cluster, old];
    const { start, watch, settle, log, looks } = watching(() => concerns);
    expect(await start()).toEqual({ port: 1, notWell: ['receiver old'] });
    concerns = [cluster];
    watch.look();
    await settle();
    expect(looks.at(-1)).toBe(true);
    concerns = [cluster, added];
    watch.look();
    await settle();
    expect(log.error).toHaveBeenLastCalledWith(expect.objectContaining({ what: 'receiver new' }), 'not well');
    expect(looks.at(-1)).toBe(false);
    expect(old.check).toHaveBeenCalledOnce();
  });

  it('is looked at no more when the daemon stops', async () => {
    const { start, watch, settle, ending, log, looks } = watching(() => [{ name: 'a', check }]);
    const check = vi.fn(() => {
      ending.abort();
      return Promise.reject(new Error('x'));
    });
    await start();
    await watch.ended();
    await settle();
    expect(check).toHaveBeenCalledOnce();
    expect(log.error).not.toHaveBeenCalled();
    expect(looks).toEqual([]);
  });
});
