import { InvalidArgumentError } from '@commander-js/extra-typings';

/** A time of RFC 3339, or one without a zone, or a day. */
const common = /^(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?(Z|[+-]\d\d:\d\d)?)?$/i;
/** As it stands in the names of backups: always UTC. */
const inNames = /^(\d{4})-(\d\d)-(\d\d)\.(\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?$/;

interface Moment {
  readonly day: readonly [year: number, month: number, day: number];
  readonly time: readonly [hour: number, minute: number, second: number, ms: number];
  /** Minutes ahead of UTC; null for the local time of whoever calls. */
  readonly offset: number | null;
}

/**
 * A moment in milliseconds since 1970. Without a zone it is local time, but for the form of the names of backups, which is UTC. A day alone is
 * its beginning. What is given without a fraction of a second means that second to its end: `list` shows times to the second, and what it
 * shows must find the backup.
 */
export const momentArgument = (text: string): number => {
  const named = inNames.exec(text);
  const match = named ?? common.exec(text);
  if (match === null) throw new InvalidArgumentError(expected);
  const moment = momentOf(match, named === null ? match[8] : 'Z');
  const ms = moment.offset === null ? localMs(moment) : utcMs(moment, moment.offset);
  if (ms !== null) return ms;
  throw new InvalidArgumentError(
    moment.offset === null && utcMs(moment, 0) !== null ? 'The clock was put forward over this local time.' : expected,
  );
};

const expected =
  'Expected a time such as 2026-11-24, "2026-11-24 22:40" or "2026-11-24 22:40:43" (local), 2026-11-24T22:40:43Z, or 2026-11-24.22:40:43.707889 as in an id.';

const momentOf = (match: RegExpExecArray, zone: string | undefined): Moment => {
  const [, year, month, day, hour = '0', minute = '0', second = '0', fraction] = match;
  const ms = fraction === undefined ? 999 : Number(fraction.padEnd(3, '0').slice(0, 3));
  return {
    day: [Number(year), Number(month) - 1, Number(day)],
    time: [Number(hour), Number(minute), Number(second), ms],
    offset: zone === undefined ? null : offsetOf(zone),
  };
};

const offsetOf = (zone: string): number => {
  if (zone.toUpperCase() === 'Z') return 0;
  const minutes = Number(zone.slice(1, 3)) * 60 + Number(zone.slice(4));
  return zone.startsWith('-') ? -minutes : minutes;
};

/** Null when there is no such time: JavaScript takes the 30th of February for the 2nd of March. */
const utcMs = ({ day, time }: Moment, offset: number): number | null => {
  const at = new Date(Date.UTC(...day, ...time));
  const isReal =
    sameNumbers([at.getUTCFullYear(), at.getUTCMonth(), at.getUTCDate()], day) &&
    sameNumbers([at.getUTCHours(), at.getUTCMinutes(), at.getUTCSeconds(), at.getUTCMilliseconds()], time);
  return isReal && Math.abs(offset) < 24 * 60 ? at.getTime() - offset * 60_000 : null;
};

/** Of a time that there was twice, because the clock was put back, the first. */
const localMs = ({ day, time }: Moment): number | null => {
  const at = new Date(...day, ...time);
  const isReal =
    sameNumbers([at.getFullYear(), at.getMonth(), at.getDate()], day) &&
    sameNumbers([at.getHours(), at.getMinutes(), at.getSeconds(), at.getMilliseconds()], time);
  return isReal ? at.getTime() : null;
};

const sameNumbers = (a: readonly number[], b: readonly number[]): boolean =>
  a.every((each, index) => each === b[index]);
