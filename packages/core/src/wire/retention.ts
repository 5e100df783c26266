import { FerryError } from '../errors/ferry-error.js';
import type * as wire from '../gen/rbdferry/v1/model.js';
import { noKeepRules, periods, type KeepRules, type StoreRules } from '../model/retention/policy.js';

/** Whether any keep rule is given at all, be it one of 0. */
export const givesRules = (rules: wire.RetentionRules): boolean =>
  [rules.last, rules.withinMs, ...periods.map((period) => rules[period])].some((value) => value !== undefined);

/** The time zone is not looked at: whoever uses it does. @throws INVALID_REQUEST */
export const rulesFromWire = (rules: wire.RetentionRules): StoreRules => ({
  keep: {
    ...noKeepRules,
    last: rules.last ?? 0,
    hourly: rules.hourly ?? 0,
    daily: rules.daily ?? 0,
    weekly: rules.weekly ?? 0,
    monthly: rules.monthly ?? 0,
    yearly: rules.yearly ?? 0,
    withinMs: msFromWire(rules.withinMs, 'a time within which backups stay'),
  },
  minAgeMs: msFromWire(rules.minAgeMs, 'a least age'),
  timeZone: rules.timeZone === '' ? null : rules.timeZone,
});

const msFromWire = (ms: bigint | undefined, what: string): number => {
  const number = Number(ms ?? 0n);
  if (number >= 0 && Number.isSafeInteger(number)) return number;
  throw new FerryError('INVALID_REQUEST', `${what} of ${number} ms is ${number < 0 ? 'negative' : 'too long'}`);
};

export const rulesToWire = ({ keep, minAgeMs, timeZone }: StoreRules): wire.RetentionRules => ({
  ...countsToWire(keep),
  withinMs: keep.withinMs === 0 ? undefined : BigInt(keep.withinMs),
  minAgeMs: minAgeMs === 0 ? undefined : BigInt(minAgeMs),
  timeZone: timeZone ?? '',
});

const countsToWire = (keep: KeepRules) => {
  const count = (value: number) => (value === 0 ? undefined : value);
  return {
    last: count(keep.last),
    hourly: count(keep.hourly),
    daily: count(keep.daily),
    weekly: count(keep.weekly),
    monthly: count(keep.monthly),
    yearly: count(keep.yearly),
  };
};
