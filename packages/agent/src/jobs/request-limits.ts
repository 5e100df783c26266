import { FerryError } from '@rbdferry/core/errors/ferry-error.js';
import { lowestLimitBytesPerSecond } from '@rbdferry/core/model/quantity.js';
import type { JobRequest } from './job.js';

const mostAttempts = 1_000;

interface Asked {
  /** 0 for no limit. */
  readonly limitBytesPerSecond: bigint;
  /** 0 for once. */
  readonly attempts: number;
}

/** What every kind of job may be asked beside its own. @throws INVALID_REQUEST */
export const limitsOf = ({
  limitBytesPerSecond: limit,
  attempts,
}: Asked): Pick<JobRequest, 'attempts' | 'limitBytesPerSecond'> => {
  if (attempts > mostAttempts) {
    throw new FerryError('INVALID_REQUEST', `${attempts} attempts are more than ${mostAttempts}`);
  }
  return {
    ...(limit === 0n ? {} : { limitBytesPerSecond: bytesPerSecond(limit) }),
    ...(attempts <= 1 ? {} : { attempts }),
  };
};

const bytesPerSecond = (limit: bigint): number => {
  if (limit >= BigInt(lowestLimitBytesPerSecond) && limit <= BigInt(Number.MAX_SAFE_INTEGER)) return Number(limit);
  throw new FerryError(
    'INVALID_REQUEST',
    `the limit of ${limit} bytes per second is not one from ${lowestLimitBytesPerSecond} to 2^53`,
    { hint: 'give a higher limit, or 0 for none' },
  );
};
