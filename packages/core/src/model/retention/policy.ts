import type { BackupId } from '../backup-id.js';
import { parsed, quoted, unparsed, type Parsed } from '../parsed.js';
import { formatDuration } from '../quantity.js';

/** Stretches of the calendar of which a rule keeps the newest backup; the shortest first. */
export const periods = ['hourly', 'daily', 'weekly', 'monthly', 'yearly'] as const;
export type Period = (typeof periods)[number];

/** What stays, each rule by itself: what any of them keeps stays. A rule of 0 keeps nothing. */
export interface KeepRules extends Readonly<Record<Period, number>> {
  /** The newest N backups. */
  readonly last: number;
  /** What is in the newest N chains that hold backups of the image (by its newest backup in each). */
  readonly full: number;
  /** What was committed within so many milliseconds before the newest backup. */
  readonly withinMs: number;
}

export const noKeepRules: KeepRules = {
  last: 0,
  full: 0,
  hourly: 0,
  daily: 0,
  weekly: 0,
  monthly: 0,
  yearly: 0,
  withinMs: 0,
};

/**
 * Which backups of one image may go. What any keep rule keeps stays. Of the rest those go that are older than the age, or all of them
 * when no age is given.
 */
export interface RetentionPolicy {
  /** Backups committed longer ago than this, in milliseconds. */
  readonly olderThanMs: number | null;
  readonly keep: KeepRules;
  /** These stay, whatever the rules say. */
  readonly keepIds: readonly BackupId[];
  /** Backups committed less than so many milliseconds ago stay; 0 for no such protection. */
  readonly minAgeMs: number;
  /** Name of the IANA time zone in which hours, days, weeks, months and years begin. */
  readonly timeZone: string;
}

/** What a store's configuration says of retention. */
export interface StoreRules extends Pick<RetentionPolicy, 'keep' | 'minAgeMs'> {
  /** Null when it names none. */
  readonly timeZone: string | null;
}

/** The zone of a policy that names none. */
export const defaultTimeZone = 'UTC';

/** Whether any of the rules keeps anything. */
export const keepsSomething = (keep: KeepRules): boolean => Object.values(keep).some((amount) => amount > 0);

/** Whether it says at all what may go. One that does not lets nothing go. */
export const saysWhatGoes = ({ olderThanMs, keep }: Pick<RetentionPolicy, 'olderThanMs' | 'keep'>): boolean =>
  olderThanMs !== null || keepsSomething(keep);

/** As `last 3, daily 7, within 2d; min_age 12h; time zone Europe/Berlin`. */
export const describePolicy = ({ olderThanMs, keep, minAgeMs, timeZone }: RetentionPolicy): string => {
  const counts = (['last', 'full', ...periods] as const).filter((rule) => keep[rule] > 0);
  const rules = [
    ...(olderThanMs === null ? [] : [`older than ${formatDuration(olderThanMs)}`]),
    ...counts.map((rule) => `${rule} ${keep[rule]}`),
    ...(keep.withinMs > 0 ? [`within ${formatDuration(keep.withinMs)}`] : []),
  ];
  const parts = [rules.join(', '), ...(minAgeMs > 0 ? [`min_age ${formatDuration(minAgeMs)}`] : [])];
  return [...parts, `time zone ${timeZone}`].join('; ');
};

/** An IANA name such as Europe/Berlin. An offset such as +02:00 is refused: it knows no summer time, and not every Node.js takes it. */
export const parseTimeZone = (text: string): Parsed<string> => {
  try {
    if (/^[A-Za-z]/.test(text)) {
      // Throws a RangeError for one that nobody knows.
      Intl.DateTimeFormat('en-US', { timeZone: text }).resolvedOptions();
      return parsed(text);
    }
  } catch {
    // Said below.
  }
  return unparsed(`${quoted(text)} is not a time zone such as Europe/Berlin or UTC`);
};
