import { durationSchema } from '@rbdferry/core/config/schemas.js';
import { keepsSomething, noKeepRules, parseTimeZone, type StoreRules } from '@rbdferry/core/model/retention/policy.js';
import { z } from 'zod';

const countSchema = z.int('expected a whole number').min(0).max(1_000_000).optional();

/** At least one must be more than 0: rules that keep nothing are a slip of the pen. */
const keepSchema = z
  .strictObject({
    last: countSchema,
    hourly: countSchema,
    daily: countSchema,
    weekly: countSchema,
    monthly: countSchema,
    yearly: countSchema,
    within: durationSchema.optional(),
  })
  .transform(({ within = 0, last = 0, hourly = 0, daily = 0, weekly = 0, monthly = 0, yearly = 0 }) => ({
    ...noKeepRules,
    last,
    hourly,
    daily,
    weekly,
    monthly,
    yearly,
    withinMs: within,
  }))
  .refine(keepsSomething, 'would keep nothing: expected a rule of more than 0');

const timeZoneSchema = z.string().superRefine((text, context) => {
  const zone = parseTimeZone(text);
  if (!zone.ok) context.addIssue({ code: 'custom', message: zone.problem });
});

/** What every store may say of retention, whatever its kind. */
export const retentionKeys = {
  /** What `rbdferry prune` keeps when the command names no rules. */
  keep: keepSchema.optional(),
  /** No rule, of the store or of a command, takes what is younger. */
  min_age: durationSchema.optional(),
  /** In which the days, weeks, months and years of `keep` begin. */
  time_zone: timeZoneSchema.optional(),
};

const retentionSchema = z.object(retentionKeys);

/** Null for a store that says nothing of it. */
export const storeRulesOf = ({ keep, min_age, time_zone }: z.output<typeof retentionSchema>): StoreRules | null =>
  keep === undefined && min_age === undefined && time_zone === undefined
    ? null
    : { keep: keep ?? noKeepRules, minAgeMs: min_age ?? 0, timeZone: time_zone ?? null };
