import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { momentArgument } from './moment.js';

const iso = (text: string): string => new Date(momentArgument(text)).toISOString();

describe('a moment', () => {
  const before = process.env['TZ'];
  beforeEach(() => {
    process.env['TZ'] = 'Europe/Berlin';
  });
  afterEach(() => {
    if (before === undefined) delete process.env['TZ'];
    else process.env['TZ'] = before;
  });

  it.each([
    ['2026-11-24', '2026-11-23T23:00:00.999Z'],
    ['2026-11-24 22:40', '2026-11-24T21:40:00.999Z'],
    ['2026-07-24T22:40:43', '2026-07-24T20:40:43.999Z'],
    ['2026-11-24T22:40:43Z', '2026-11-24T22:40:43.999Z'],
    ['2026-11-24 22:40:43Z', '2026-11-24T22:40:43.999Z'],
    ['2026-11-24t22:40:43.5+05:30', '2026-11-24T17:10:43.500Z'],
    ['2026-11-24.22:40:43.707889', '2026-11-24T22:40:43.707Z'],
    ['2026-11-24.22:40', '2026-11-24T22:40:00.999Z'],
    // The hour that there is twice: its first.
    ['2026-10-25 02:30', '2026-10-25T00:30:00.999Z'],
    ['2026-10-25T02:30:00+01:00', '2026-10-25T01:30:00.999Z'],
  ])('%s', (text, expected) => {
    expect(iso(text)).toBe(expected);
  });

  it.each([
    '',
    'yesterday',
    '2026-11',
    '2026-02-30',
    '2026-11-24 24:00',
    '2026-11-24 22:60',
    '2026-11-24T22:40:60Z',
    '2026-11-24T22',
    '2026-11-24T22:40:43+25:00',
    '24.11.2026',
    '1795560039',
    '2026-11-24.22:40:43.707889.snap',
  ])('is not %j', (text) => {
    expect(() => momentArgument(text)).toThrow('Expected a time such as');
  });

  it('is not an hour that there was not', () => {
    expect(() => momentArgument('2026-03-29 02:30')).toThrow('put forward');
  });
});
