import type { Period } from './policy.js';

/** A moment by the clock on the wall of a time zone. */
interface LocalTime {
  readonly year: string;
  readonly month: string;
  readonly day: string;
  readonly hour: string;
  /** From UTC, as +02:00. */
  readonly offset: string;
}

/** The name of the stretch of the calendar that a moment lies in, for each period: two moments in one stretch have one name. */
export type Calendar = (ms: number) => Readonly<Record<Period, string>>;

const latestMs = 8.64e15;

/**
 * The calendar of a time zone. The hour that the end of summer time repeats is two hours, and a day then has 25 of them. Weeks are those of
 * ISO 8601: they begin on Monday, and the first of a year is the one with its first Thursday.
 *
 * @throws RangeError for a zone that `parseTimeZone` refuses
 */
export const calendarOf = (timeZone: string): Calendar => {
  const localTime = localTimeIn(timeZone);
  return (ms) => {
    const { year, month, day, hour, offset } = localTime(Math.min(Math.max(ms, -latestMs), latestMs));
    const date = `${year}-${month}-${day}`;
    return {
      hourly: `${date} ${hour}:00${offset}`,
      daily: date,
      weekly: isoWeek(Number(year), Number(month), Number(day)),
      monthly: `${year}-${month}`,
      yearly: year,
    };
  };
};

/** Making a formatter costs as much as a hundred uses of it. */
const localTimeIn = (timeZone: string): ((ms: number) => LocalTime) => {
  const format = new Intl.DateTimeFormat('en-US', {
    timeZone,
    calendar: 'gregory',
    numberingSystem: 'latn',
    hourCycle: 'h23',
    year: 'numeric',
    month: '2-digit',
    day: '2-digit',
    hour: '2-digit',
    timeZoneName: 'longOffset',
  });
  return (ms) => {
    const parts = new Map(format.formatToParts(ms).map(({ type, value }) => [type, value]));
    const part = (type: Intl.DateTimeFormatPartTypes) => parts.get(type) ?? '';
    // "GMT+02:00", and "GMT" alone for none.
    const offset = part('timeZoneName').slice(3) || '+00:00';
    return { year: part('year'), month: part('month'), day: part('day'), hour: part('hour'), offset };
  };
};

const dayMs = 86_400_000;

const isoWeek = (year: number, month: number, day: number): string => {
  const date = new Date(0);
  date.setUTCFullYear(year, month - 1, day);
  // The Thursday of the same week says which year the week belongs to.
  const thursday = new Date(date.getTime() + (4 - (date.getUTCDay() || 7)) * dayMs);
  const first = new Date(0);
  first.setUTCFullYear(thursday.getUTCFullYear(), 0, 1);
  const week = Math.floor((thursday.getTime() - first.getTime()) / (7 * dayMs)) + 1;
  return `${thursday.getUTCFullYear()}-W${String(week).padStart(2, '0')}`;
};
