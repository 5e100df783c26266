import { describe, expect, it, vi } from 'vitest';
import { FerryError } from '../errors/ferry-error.js';
import { createLogger } from '../log/logger.js';
import { untilWell } from './until-well.js';

describe('what is not well at the start', () => {
  it('is said once for each trouble, looked at again with longer pauses, and said to be well again', async () => {
    const log = createLogger('test', 'silent');
    const [error, info] = [vi.spyOn(log, 'error'), vi.spyOn(log, 'info')];
    const troubles = ['no keyring', 'no keyring', 'no pool', null];
    let fine = 0;
    const rounds: (readonly string[])[] = [];
    const pauses: number[] = [];
    await untilWell(
      [
        {
          name: 'cluster',
          check: () => {
            const trouble = troubles.shift() ?? null;
            return trouble === null ? Promise.resolve() : Promise.reject(new FerryError('CEPH_UNAVAILABLE', trouble));
          },
        },
        {
          name: 'certificate',
          check: () => {
            fine += 1;
            return Promise.resolve();
          },
        },
      ],
      {
        log,
        signal: new AbortController().signal,
        onRound: (unwell) => rounds.push(unwell),
        pause: (ms) => {
          pauses.push(ms);
          return Promise.resolve();
        },
      },
    );
    expect(rounds).toEqual([['cluster'], ['cluster'], ['cluster'], []]);
    expect(pauses).toEqual([1_000, 2_000, 4_000]);
    expect(fine).toBe(1);
    expect(error.mock.calls.map(([fields]) => fields)).toEqual([
      { what: 'cluster', code: 'CEPH_UNAVAILABLE', error: 'no keyring', hint: expect.stringMatching(/./) },
      { what: 'cluster', code: 'CEPH_UNAVAILABLE', error: 'no pool', hint: expect.stringMatching(/./) },
    ]);
    expect(info).toHaveBeenCalledWith({ what: 'cluster' }, 'well again');
  });

  it('is looked at no more when the daemon stops', async () => {
    const ending = new AbortController();
    const check = vi.fn(() => {
      ending.abort();
      return Promise.reject(new Error('x'));
    });
    const onRound = vi.fn();
    await untilWell([{ name: 'a', check }], { log: createLogger('test', 'silent'), signal: ending.signal, onRound });
    expect(check).toHaveBeenCalledOnce();
    expect(onRound).not.toHaveBeenCalled();
  });
});
