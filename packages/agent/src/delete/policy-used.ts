import { FerryError } from '@rbdferry/core/errors/ferry-error.js';
import { orThrow } from '@rbdferry/core/errors/parsed.js';
import {
  defaultTimeZone,
  keepsSomething,
  parseTimeZone,
  periods,
  saysWhatGoes,
  type RetentionPolicy,
  type StoreRules,
} from '@rbdferry/core/model/retention/policy.js';

/** A policy as it was asked for. */
export interface AskedPolicy extends Omit<RetentionPolicy, 'timeZone'> {
  /** Null for the store's. */
  readonly timeZone: string | null;
  /** Whether it says anything of what goes or stays; the store's rules are used otherwise. */
  readonly hasRules: boolean;
  /** Every decision is told, with its reasons, and what the next increment builds on stays. */
  readonly explain: boolean;
}

export interface PolicyUsed {
  readonly policy: RetentionPolicy;
  /** Whether the rules are the store's. */
  readonly isOfStore: boolean;
}

/**
 * The policy that holds: the rules that were asked for, or the store's. The store's `min_age` holds in any case.
 *
 * @throws INVALID_REQUEST for one that would keep nothing, and for a time zone that nobody knows
 */
export const policyUsed = (asked: AskedPolicy, store: string, ofStore: StoreRules | undefined): PolicyUsed => {
  const keep = asked.hasRules ? asked.keep : (ofStore?.keep ?? asked.keep);
  if (asked.hasRules && !saysWhatGoes(asked)) throw keepsNothing('the policy keeps nothing');
  if (!asked.hasRules && !keepsSomething(keep)) {
    throw keepsNothing(`no rules were given, and store ${JSON.stringify(store)} has none`);
  }
  const timeZone = asked.timeZone ?? ofStore?.timeZone ?? defaultTimeZone;
  // One that is not needed hinders nothing: the receiver may know zones that this Node.js does not.
  if (asked.timeZone !== null || periods.some((period) => keep[period] > 0)) {
    orThrow(parseTimeZone(timeZone), 'INVALID_REQUEST');
  }
  const minAgeMs = Math.max(asked.minAgeMs, ofStore?.minAgeMs ?? 0);
  const { olderThanMs, keepIds } = asked;
  return { policy: { olderThanMs, keep, keepIds, minAgeMs, timeZone }, isOfStore: !asked.hasRules };
};

const keepsNothing = (message: string): FerryError =>
  new FerryError('INVALID_REQUEST', message, {
    hint: "give a rule of more than 0, such as --keep-daily 7, or put `keep` into the store's configuration on the receiver",
  });
