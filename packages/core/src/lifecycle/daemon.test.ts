import { afterEach, describe, expect, it, vi } from 'vitest';
import { FerryError } from '../errors/ferry-error.js';
import { createLogger } from '../log/logger.js';
import { runDaemon } from './daemon.js';

const log = createLogger('test', 'silent');

/** Stands in for the parts of the process that must not really happen here. */
const fakeProcess = () => {
  const exits: (number | undefined)[] = [];
  const said: string[] = [];
  vi.spyOn(process, 'exit').mockImplementation((code) => {
    exits.push(code === null || code === undefined ? undefined : Number(code));
    return undefined as never;
  });
  vi.spyOn(process.stderr, 'write').mockImplementation((text: unknown, ...rest: unknown[]) => {
    said.push(String(text));
    const done = rest.at(-1);
    if (typeof done === 'function') done();
    return true;
  });
  return { exits, said };
};

const signals = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const;
const reload = () => Promise.resolve();

afterEach(() => {
  vi.restoreAllMocks();
  for (const signal of signals) process.removeAllListeners(signal);
});

describe('a daemon', () => {
  it.each(['SIGTERM', 'SIGINT'] as const)('runs until %s, stops, and exits with 0', async (signal) => {
    const { exits } = fakeProcess();
    const stop = vi.fn(() => Promise.resolve());
    const running = runDaemon(() => Promise.resolve({ running: { stop, reload }, log }));
    await new Promise((resolve) => setImmediate(resolve));
    expect(stop).not.toHaveBeenCalled();
    process.emit(signal, signal);
    await running;
    expect(stop).toHaveBeenCalledOnce();
    expect(exits).toEqual([0]);
  });

  it('leaves at once on a second signal', async () => {
    const { exits } = fakeProcess();
    void runDaemon(() => Promise.resolve({ running: { stop: () => new Promise<never>(() => {}), reload }, log }));
    await new Promise((resolve) => setImmediate(resolve));
    process.emit('SIGTERM', 'SIGTERM');
    await new Promise((resolve) => setImmediate(resolve));
    expect(exits).toEqual([]);
    process.emit('SIGINT', 'SIGINT');
    expect(exits).toEqual([1]);
  });

  it('reads its configuration anew at SIGHUP, also at one that comes before it runs, and goes on', async () => {
    const { exits } = fakeProcess();
    const again = vi.fn(() => Promise.resolve());
    void runDaemon(() => {
      process.emit('SIGHUP', 'SIGHUP');
      return Promise.resolve({ running: { stop: () => Promise.resolve(), reload: again }, log });
    });
    await new Promise((resolve) => setImmediate(resolve));
    expect(again).toHaveBeenCalledOnce();
    process.emit('SIGHUP', 'SIGHUP');
    await new Promise((resolve) => setImmediate(resolve));
    expect(again).toHaveBeenCalledTimes(2);
    expect(exits).toEqual([]);
  });

  it('that cannot start says why, with a hint, and exits with the status of the code', async () => {
    const { exits, said } = fakeProcess();
    await runDaemon(() => Promise.reject(new FerryError('CONFIG_MISSING', 'no file "x"', { hint: 'make it' })));
    expect(said.join('')).toBe('CONFIG_MISSING: no file "x"\nhint: make it\n');
    expect(exits).toEqual([14]);
  });

  it('that cannot stop says why, and exits nevertheless', async () => {
    const { exits, said } = fakeProcess();
    const stop = () => Promise.reject(new Error('the database is gone'));
    const running = runDaemon(() => Promise.resolve({ running: { stop, reload }, log }));
    await new Promise((resolve) => setImmediate(resolve));
    process.emit('SIGTERM', 'SIGTERM');
    await running;
    expect(said.join('')).toContain('INTERNAL: the database is gone');
    expect(exits).toEqual([1]);
  });
});
