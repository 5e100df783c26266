import { describe, expect, it } from 'vitest';
import { calendarOf } from './calendar.js';
import { parseTimeZone } from './policy.js';

const namesAt = (timeZone: string, time: string) => calendarOf(timeZone)(Date.parse(time));

describe('the calendar of a time zone', () => {
  it.each<[string, string, string, string[]]>([
    ['UTC', 'UTC', '2026-03-21T14:59:59.999Z', ['2026-03-21 14:00+00:00', '2026-03-21', '2026-W12', '2026-03', '2026']],
    [
      'the date there',
      'Asia/Tokyo',
      '2026-12-31T15:00:00Z',
      ['2027-01-01 00:00+09:00', '2027-01-01', '2026-W53', '2027-01', '2027'],
    ],
    [
      'and behind',
      'America/New_York',
      '2027-01-01T04:59:00Z',
      ['2026-12-31 23:00-05:00', '2026-12-31', '2026-W53', '2026-12', '2026'],
    ],
    [
      'half hours',
      'Asia/Kolkata',
      '2026-06-01T00:00:00Z',
      ['2026-06-01 05:00+05:30', '2026-06-01', '2026-W23', '2026-06', '2026'],
    ],
    [
      'before summer time',
      'Europe/Berlin',
      '2026-03-29T00:59:59Z',
      ['2026-03-29 01:00+01:00', '2026-03-29', '2026-W13', '2026-03', '2026'],
    ],
    [
      'after it began',
      'Europe/Berlin',
      '2026-03-29T01:00:00Z',
      ['2026-03-29 03:00+02:00', '2026-03-29', '2026-W13', '2026-03', '2026'],
    ],
    [
      'the first of two hours of one name',
      'Europe/Berlin',
      '2026-10-25T00:30:00Z',
      ['2026-10-25 02:00+02:00', '2026-10-25', '2026-W43', '2026-10', '2026'],
    ],
    [
      'the second',
      'Europe/Berlin',
      '2026-10-25T01:30:00Z',
      ['2026-10-25 02:00+01:00', '2026-10-25', '2026-W43', '2026-10', '2026'],
    ],
    [
      'long ago',
      'UTC',
      '1970-01-01T00:00:00Z',
      ['1970-01-01 00:00+00:00', '1970-01-01', '1970-W01', '1970-01', '1970'],
    ],
  ])('%s', (_, timeZone, time, expected) => {
    expect(Object.values(namesAt(timeZone, time))).toEqual(expected);
  });

  it.each([
    ['2025-12-28', '2025-W52'],
    ['2025-12-29', '2026-W01'],
    ['2026-01-01', '2026-W01'],
    ['2026-12-31', '2026-W53'],
    ['2027-01-03', '2026-W53'],
    ['2027-01-04', '2027-W01'],
    ['2020-12-31', '2020-W53'],
    ['2024-12-30', '2025-W01'],
  ])('%s is in week %s', (day, week) => {
    expect(namesAt('UTC', `${day}T12:00:00Z`).weekly).toBe(week);
  });

  it('takes any number for a time', () => {
    for (const ms of [Number.MAX_SAFE_INTEGER, -Number.MAX_SAFE_INTEGER]) {
      expect(calendarOf('UTC')(ms).yearly).toMatch(/^\d+$/);
    }
  });
});

describe('a time zone', () => {
  it.each(['UTC', 'Europe/Berlin', 'America/Argentina/Buenos_Aires'])('%s is one', (name) => {
    expect(parseTimeZone(name)).toEqual({ ok: true, value: name });
  });

  it.each(['', 'Mars/Olympus', '+02:00', 'Europe/Berlin ', '2'])('"%s" is none', (name) => {
    expect(parseTimeZone(name)).toEqual({
      ok: false,
      problem: `${JSON.stringify(name)} is not a time zone such as Europe/Berlin or UTC`,
    });
  });
});
