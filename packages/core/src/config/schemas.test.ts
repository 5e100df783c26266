import { describe, expect, it } from 'vitest';
import type { z } from 'zod';
import {
  addressSchema,
  cephSchema,
  durationSchema,
  logLevelSchema,
  nameSchema,
  poolSchema,
  rateLimitSchema,
  sizeSchema,
  timeoutSchema,
  tlsSchema,
  windowSchema,
} from './schemas.js';

const takes = (schema: z.ZodType, value: unknown): boolean => schema.safeParse(value).success;
const words = (schema: z.ZodType, value: unknown): string[] =>
  schema.safeParse(value).error?.issues.map(({ message }) => message) ?? [];

describe('sizes', () => {
  it.each<[unknown, number]>([
    ['64MiB', 64 * 1024 ** 2],
    ['1.5GiB', 1.5 * 1024 ** 3],
    ['2GB', 2e9],
    ['64m', 64 * 1024 ** 2],
    ['0', 0],
    [12345, 12345],
    [0, 0],
  ])('%j is %i bytes', (text, bytes) => {
    expect(sizeSchema.parse(text)).toBe(bytes);
  });

  it.each([
    '',
    'x',
    '5 parsecs',
    '-1',
    '1e9',
    '99999999999TB',
    '0x10',
    'MiB',
    -1,
    NaN,
    Infinity,
    2 ** 60,
    true,
    null,
    {},
    [],
  ])('%j is none', (value) => {
    expect(takes(sizeSchema, value)).toBe(false);
    expect(words(sizeSchema, value).join()).not.toBe('Invalid input');
  });
});

describe('durations', () => {
  it.each([
    ['500ms', 500],
    ['90s', 90_000],
    ['10m', 600_000],
    ['36h', 129_600_000],
    ['7d', 604_800_000],
    ['2w', 1_209_600_000],
    ['1.5h', 5_400_000],
  ])('%j is %i ms', (text, ms) => {
    expect(durationSchema.parse(text)).toBe(ms);
  });

  it.each(['', '90', 90, 's', '5 parsecs', '-5s', null])('%j is none', (value) => {
    expect(takes(durationSchema, value)).toBe(false);
  });
});

describe('timeouts', () => {
  it('are what a timer of Node takes: it runs one of more than 24 days off at once', () => {
    expect(timeoutSchema.parse('1s')).toBe(1_000);
    expect(timeoutSchema.parse('24d')).toBe(24 * 86_400_000);
    for (const text of ['0s', '999ms', '25d', '4w', '52w'])
      expect(words(timeoutSchema, text)).toEqual(['expected a time from 1s to 24d']);
  });
});

describe('windows', () => {
  it('are what HTTP/2 takes', () => {
    expect(windowSchema.parse('64KiB')).toBe(65_536);
    expect(windowSchema.parse('1GiB')).toBe(1024 ** 3);
    expect(windowSchema.parse('auto')).toBe('auto');
    expect(windowSchema.parse(undefined)).toBe('auto');
    for (const text of [0, 1, '32KiB', '2GiB', '1TiB']) expect(takes(windowSchema, text)).toBe(false);
  });
});

describe('limits', () => {
  const MiB = 1024 ** 2;
  const issues = (value: unknown) =>
    rateLimitSchema.safeParse(value).error?.issues.map(({ path, message }) => `${path.join('.')}: ${message}`) ?? [];

  it('are a rate, or rates by time of day', () => {
    expect(rateLimitSchema.parse('50MiB/s')).toEqual({ rate: 50 * MiB, times: [] });
    expect(rateLimitSchema.parse('unlimited')).toEqual({ rate: null, times: [] });
    const times = [
      { from: '08:00', to: '18:00', rate: '20MiB/s' },
      { from: '22:00', to: '06:00', rate: 'unlimited' },
    ];
    expect(rateLimitSchema.parse({ rate: '100MiB/s', times })).toEqual({
      rate: 100 * MiB,
      times: [
        { fromMinute: 480, toMinute: 1080, rate: 20 * MiB },
        { fromMinute: 1320, toMinute: 360, rate: null },
      ],
    });
    expect(rateLimitSchema.parse({ times: [{ from: '24:00', to: '24:00', rate: '1MiB/s' }].slice(1) })).toEqual({
      rate: null,
      times: [],
    });
  });

  const one = (change: object) => ({ times: [{ from: '08:00', to: '18:00', rate: '1MiB/s', ...change }] });

  it.each<[string, unknown, string]>([
    ['a number', 50, ': expected a rate such as 50MiB/s, or rates by time of day'],
    ['nothing', null, ': expected a rate such as 50MiB/s, or rates by time of day'],
    ['a size', '50MiB', 'rate: "50MiB" is not a rate such as 50MiB/s or 400Mbit/s'],
    ['far too little', '5/s', 'rate: "5/s" is below the lowest rate, 1KiB/s'],
    ['another key', { rates: [] }, ': Unrecognized key: "rates"'],
    ['a time that is none', one({ from: '8 am' }), 'times.0.from: "8 am" is not a time of day such as 08:00'],
    ['a time that is a number', one({ to: 18 }), 'times.0.to: expected a time of day such as "08:00"'],
    ['no time at all', one({ to: '08:00' }), 'times.0.to: expected another time than `from`'],
    ['a day from midnight to midnight', one({ from: '00:00', to: '24:00' }), 'times.0.to: expected another time'],
    ['a part without a rate', one({ rate: undefined }), 'times.0.rate: expected a rate such as 50MiB/s, or unlimited'],
    [
      'parts that overlap',
      {
        times: [
          { from: '22:00', to: '06:00', rate: '1MiB/s' },
          { from: '05:00', to: '07:00', rate: '2MiB/s' },
        ],
      },
      'times.1: overlaps times.0',
    ],
  ])('are not %s', (_, value, words) => {
    expect(issues(value).join('\n')).toContain(words);
  });
});

describe('addresses', () => {
  it.each([
    'localhost:7443',
    '0.0.0.0:0',
    '[::]:7443',
    '[::1]:65535',
    '[::ffff:10.0.0.1]:1',
    'backup-1.example.com:7443',
    'my_host:1',
  ])('%s is one', (address) => {
    expect(takes(addressSchema, address)).toBe(true);
  });

  it.each([
    '',
    'localhost',
    'localhost:',
    ':7443',
    '::1:7443',
    'a b:1',
    'host:65536',
    'host:99999',
    'host:123456',
    'host:-1',
    'http://host:1',
    'host:1/x',
    'unix:/x',
    'höst:1',
    7443,
  ])('%j is none', (address) => {
    expect(takes(addressSchema, address)).toBe(false);
  });
});

describe('names and pools', () => {
  it('are legal wherever an image name is', () => {
    expect(nameSchema('store').parse('rbd2')).toBe('rbd2');
    for (const name of ['', '-x', 'a/b', 'a@b', 'a b', 'ä', 'x'.repeat(201), '..', 'a\n'])
      expect(words(nameSchema('store'), name).join(), JSON.stringify(name)).toContain('store name');
  });

  it('of pools may have a namespace', () => {
    expect(poolSchema.parse('rbd')).toEqual({ pool: 'rbd', namespace: '' });
    expect(poolSchema.parse('rbd/ns')).toEqual({ pool: 'rbd', namespace: 'ns' });
    expect(poolSchema.parse('-a/my pool')).toEqual({ pool: '-a', namespace: 'my pool' });
    for (const text of ['', '/', 'rbd/', '/ns', 'a/b/c', 'a@b', 'a\nb']) expect(takes(poolSchema, text)).toBe(false);
  });
});

describe('the way to a cluster', () => {
  it('has defaults', () => {
    expect(cephSchema.parse({ user: 'agent' })).toEqual({
      conf: '/etc/ceph/ceph.conf',
      user: 'agent',
      command_timeout: 60_000,
      adapter: 'auto',
    });
  });

  it('names the user without "client."', () => {
    expect(words(cephSchema, { user: 'client.agent' })).toEqual(["expected a CephX id without the leading 'client.'"]);
    for (const user of ['', 'a b', '--conf', 'a/b', 'a\n']) expect(takes(cephSchema, { user })).toBe(false);
  });

  it('knows no other keys', () => {
    expect(takes(cephSchema, { user: 'a', pool: 'x' })).toBe(false);
    expect(takes(tlsSchema, { ca: 'a', cert: 'b', key: 'c', passphrase: 'd' })).toBe(false);
  });
});

it('a log level has a default', () => {
  expect(logLevelSchema.parse(undefined)).toBe('info');
  expect(takes(logLevelSchema, 'loud')).toBe(false);
});
