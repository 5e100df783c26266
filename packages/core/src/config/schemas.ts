import { adapterChoices } from '../ceph/adapter.js';
import { z } from 'zod';
import { nameProblem, parsePoolSpec, plainNameProblem } from '../model/image-spec.js';
import { parseDuration, parseRate, parseSize } from '../model/quantity.js';
import { findOverlap, parseTimeOfDay, type RateLimit, type TimedRate } from '../model/rate-limit.js';
import type { Parsed } from '../model/parsed.js';

/** A schema from one of the model's parsers; the parser's words become the issue's message. */
const fromParser = <T>(parse: (text: string) => Parsed<T>) =>
  z.string().transform((text, context) => unwrap(parse(text), context));

const unwrap = <T>(result: Parsed<T>, context: z.core.$RefinementCtx): T => {
  if (result.ok) return result.value;
  context.addIssue({ code: 'custom', message: result.problem });
  return z.NEVER;
};

const checkedName = (problemOf: (what: string, name: string) => string | undefined) => (what: string) =>
  z.string().superRefine((name, context) => {
    const problem = problemOf(what, name);
    if (problem !== undefined) context.addIssue({ code: 'custom', message: problem });
  });

/** A name of a store or receiver. */
export const nameSchema = checkedName(plainNameProblem);

/** A name that Ceph has given. */
export const cephNameSchema = checkedName(nameProblem);

/** `90s`, `10m`, `36h`, `7d`; milliseconds. */
export const durationSchema = fromParser(parseDuration);

/** `64MiB`, `1GB` or a plain number of bytes. */
export const sizeSchema = z
  .union([z.string(), z.number()], 'expected a size such as 64MiB or 2GB')
  .transform((value, context) => unwrap(parseSize(String(value)), context));

/** The longest time that a timer of Node takes; it runs a longer one off at once. */
const maxTimeoutMs = 2 ** 31 - 1;

/** A duration that something waits for: from a second to 24 days. */
export const timeoutSchema = durationSchema.refine(
  (ms) => ms >= 1_000 && ms <= maxTimeoutMs,
  'expected a time from 1s to 24d',
);

/**
 * A flow-control window: HTTP/2 has no larger ones, and a smaller one than its own would only slow transfers down. `auto` follows the
 * round trip.
 */
export const windowSchema = z
  .union([
    z.literal('auto'),
    sizeSchema.refine(
      (bytes) => bytes >= 65_535 && bytes <= 1024 ** 3,
      'expected `auto` or a window from 64KiB to 1GiB',
    ),
  ])
  .default('auto');

/**
 * How messages go through grpc-js: `in-place`, without its copies, which reaches into private parts of it; or `plain`, its own way, should the
 * other one ever be in doubt.
 */
export const wireSchema = z.enum(['in-place', 'plain']).default('in-place');

/** `50MiB/s`, `400Mbit/s`, or `unlimited` (null); bytes per second. */
const rateSchema = z
  .string('expected a rate such as 50MiB/s, or unlimited')
  .transform((text, context) => (text === 'unlimited' ? null : unwrap(parseRate(text), context)));

const timeOfDaySchema = z
  .string('expected a time of day such as "08:00"')
  .transform((text, context) => unwrap(parseTimeOfDay(text), context));

const timedRateSchema = z
  .strictObject({ from: timeOfDaySchema, to: timeOfDaySchema, rate: rateSchema })
  .transform(({ from, to, rate }, context): TimedRate => {
    // 24:00 and 00:00 are the same moment.
    const fromMinute = from % 1440;
    if (fromMinute === to % 1440) {
      context.addIssue({ code: 'custom', path: ['to'], message: 'expected another time than `from`' });
    }
    return { fromMinute, toMinute: to, rate };
  });

/** A rate, or rates by time of day: `{ rate, times: [{ from, to, rate }] }`, without a limit where none is given. */
export const rateLimitSchema = z
  .preprocess(
    (value) => (typeof value === 'string' ? { rate: value } : value),
    z.strictObject(
      { rate: rateSchema.default(null), times: z.array(timedRateSchema).default([]) },
      {
        error: ({ code }) =>
          code === 'invalid_type' ? 'expected a rate such as 50MiB/s, or rates by time of day' : undefined,
      },
    ),
  )
  .transform(({ rate, times }, context): RateLimit => {
    const overlap = findOverlap(times);
    if (overlap !== null) {
      const message = `overlaps times.${overlap.with}`;
      context.addIssue({ code: 'custom', path: ['times', overlap.index], message });
    }
    return { rate, times };
  });

/** `POOL` or `POOL/NAMESPACE`. */
export const poolSchema = fromParser(parsePoolSpec);

/** How a daemon reaches its cluster: one conf, one CephX user, one keyring. */
export const cephSchema = z.strictObject({
  conf: z.string().min(1).default('/etc/ceph/ceph.conf'),
  user: z
    .string()
    .min(1)
    .regex(/^(?!client\.)[A-Za-z0-9_.][A-Za-z0-9_.-]*$/, "expected a CephX id without the leading 'client.'"),
  keyring: z.string().min(1).optional(),
  /** Deadline of quick rbd commands. */
  command_timeout: timeoutSchema.default(60_000),
  /** How the cluster is spoken to. */
  adapter: z.enum(adapterChoices).default('auto'),
});

export const tlsSchema = z.strictObject({
  ca: z.string().min(1),
  cert: z.string().min(1),
  key: z.string().min(1),
});

export const logLevelSchema = z.enum(['debug', 'info', 'warn', 'error']).default('info');

/** `HOST:PORT`; an IPv6 address stands in brackets. */
export const addressSchema = z
  .string()
  .regex(/^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):\d{1,5}$/, 'expected HOST:PORT')
  .refine((address) => Number(address.slice(address.lastIndexOf(':') + 1)) <= 65_535, 'expected a port up to 65535');

/** Where a daemon answers Prometheus. */
export const metricsSchema = z.strictObject({ listen: addressSchema });
