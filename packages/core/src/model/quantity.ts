import { parsed, quoted, unparsed, type Parsed } from './parsed.js';

const byteUnits: Record<string, number> = {
  '': 1,
  b: 1,
  k: 1024,
  m: 1024 ** 2,
  g: 1024 ** 3,
  t: 1024 ** 4,
  kib: 1024,
  mib: 1024 ** 2,
  gib: 1024 ** 3,
  tib: 1024 ** 4,
  kb: 1e3,
  mb: 1e6,
  gb: 1e9,
  tb: 1e12,
};

const timeUnits: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 };

const parseQuantity = (text: string, units: Record<string, number>, expected: string): Parsed<number> => {
  const match = /^(\d+(?:\.\d+)?)\s*([A-Za-z]*)$/.exec(text.trim());
  const unit = match === null ? undefined : units[(match[2] ?? '').toLowerCase()];
  if (match === null || unit === undefined) return unparsed(`${quoted(text)} is not ${expected}`);
  const value = Math.round(Number(match[1]) * unit);
  return Number.isSafeInteger(value) ? parsed(value) : unparsed(`${quoted(text)} is too large`);
};

/** Bytes from `64MiB`, `1.5GiB`, `100MB` (decimal), `64M` (binary, as rbd has it) or a plain number. */
export const parseSize = (text: string): Parsed<number> =>
  parseQuantity(text, byteUnits, 'a size such as 64MiB or 2GB');

/** Milliseconds from `500ms`, `90s`, `10m`, `36h`, `7d`, `2w`. A unit is required. */
export const parseDuration = (text: string): Parsed<number> =>
  parseQuantity(text, timeUnits, 'a duration such as 90s, 10m, 36h or 7d');

/** Whole units, as `30d`, `36h` or `90s`: what {@link parseDuration} reads back. */
export const formatDuration = (ms: number): string => {
  const unit = (['d', 'h', 'm', 's'] as const).find((each) => ms % (timeUnits[each] ?? 1) === 0) ?? 'ms';
  return `${ms / (timeUnits[unit] ?? 1)}${unit}`;
};

/** A limit below this is a slip of the pen: a transfer would take years. */
export const lowestLimitBytesPerSecond = 1024;

const bitUnits: Record<string, number> = { kbit: 1e3 / 8, mbit: 1e6 / 8, gbit: 1e9 / 8 };

/** Bytes per second from `50MiB/s`, `100MB/s` or `400Mbit/s` (decimal bits, as networks are sold); at least 1 KiB/s. */
export const parseRate = (text: string): Parsed<number> => {
  const amount = /^(.*)\/s$/i.exec(text.trim())?.[1];
  const expected = 'a rate such as 50MiB/s or 400Mbit/s';
  if (amount === undefined) return unparsed(`${quoted(text)} is not ${expected}`);
  const rate = parseQuantity(amount, { ...byteUnits, ...bitUnits }, expected);
  if (!rate.ok) return unparsed(`${quoted(text)} is not ${expected}`);
  return rate.value >= lowestLimitBytesPerSecond ? rate : unparsed(`${quoted(text)} is below the lowest rate, 1KiB/s`);
};
