import { parsed, quoted, unparsed, type Parsed } from './parsed.js';

/** Bytes per second; null for as fast as it goes. */
export type Rate = number | null;

/** A rate for a part of each day, in minutes since midnight of local time. Goes over midnight when it ends before it begins. */
export interface TimedRate {
  /** 0 to 1439. */
  readonly fromMinute: number;
  /** 1 to 1440; not part of it any more. */
  readonly toMinute: number;
  readonly rate: Rate;
}

/** How fast transfers may be, by time of day. */
export interface RateLimit {
  /** Outside of all `times`. */
  readonly rate: Rate;
  /** None overlaps another. */
  readonly times: readonly TimedRate[];
}

export const constantRate = (rate: Rate): RateLimit => ({ rate, times: [] });

const minutesPerDay = 24 * 60;

/** @param minuteOfDay minutes since midnight */
export const rateAt = ({ rate, times }: RateLimit, minuteOfDay: number): Rate => {
  const timed = times.find((time) => holds(time, minuteOfDay));
  return timed === undefined ? rate : timed.rate;
};

const holds = ({ fromMinute, toMinute }: TimedRate, minute: number): boolean =>
  fromMinute < toMinute ? minute >= fromMinute && minute < toMinute : minute >= fromMinute || minute < toMinute;

/** The lowest rate that ever applies; null when there is none. */
export const lowestRate = (limit: RateLimit): Rate => {
  const rates = ratesOf(limit).filter((rate) => rate !== null);
  return rates.length === 0 ? null : Math.min(...rates);
};

/** The highest rate that ever applies; null when there is a time without a limit. */
export const highestRate = (limit: RateLimit): Rate => {
  const rates = ratesOf(limit);
  const limits = rates.filter((rate) => rate !== null);
  return limits.length < rates.length ? null : Math.max(...limits);
};

/** Every rate that applies at some minute of a day. */
const ratesOf = (limit: RateLimit): Rate[] => {
  const timed = limit.times.map(({ rate }) => rate);
  return coversDay(limit.times) ? timed : [...timed, limit.rate];
};

const coversDay = (times: readonly TimedRate[]): boolean => {
  const minutes = times.reduce((sum, time) => sum + lengthOf(time), 0);
  return minutes >= minutesPerDay;
};

const lengthOf = ({ fromMinute, toMinute }: TimedRate): number =>
  fromMinute < toMinute ? toMinute - fromMinute : toMinute + minutesPerDay - fromMinute;

/** The stricter one of two rates. */
export const stricter = (a: Rate, b: Rate): Rate => {
  if (a === null || b === null) return a ?? b;
  return Math.min(a, b);
};

/** The index of the first one that overlaps an earlier one, and of that one; null when none does. */
export const findOverlap = (times: readonly TimedRate[]): { readonly index: number; readonly with: number } | null => {
  for (const [index, time] of times.entries()) {
    const other = times.findIndex((each, at) => at < index && overlap(each, time));
    if (other >= 0) return { index, with: other };
  }
  return null;
};

/** Two parts of a circle overlap when one holds the beginning of the other. */
const overlap = (a: TimedRate, b: TimedRate): boolean => holds(a, b.fromMinute) || holds(b, a.fromMinute);

/** Minutes since midnight from `HH:MM`, 00:00 to 24:00. */
export const parseTimeOfDay = (text: string): Parsed<number> => {
  const [, hours, minutes] = /^(\d\d?):(\d\d)$/.exec(text) ?? [];
  const minute = Number(hours) * 60 + Number(minutes);
  return minute <= minutesPerDay && Number(minutes) < 60
    ? parsed(minute)
    : unparsed(`${quoted(text)} is not a time of day such as 08:00`);
};
