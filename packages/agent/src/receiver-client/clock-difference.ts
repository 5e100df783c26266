import { clockToleranceMs } from '@rbdferry/core/model/name-time.js';

/**
 * How far the other clock is ahead of ours, in milliseconds, as if its answer had been given half-way between question and arrival.
 *
 * @param theirMs what the other side said, in milliseconds since 1970; 0n when it is too old to say
 */
export const clockAheadMs = (
  theirMs: bigint,
  { askedMs, answeredMs }: { readonly askedMs: number; readonly answeredMs: number },
): number | null => (theirMs === 0n ? null : Math.round(Number(theirMs) - (askedMs + answeredMs) / 2));

/** What to say of clocks that are too far apart; null when they are not, or the receiver is too old to say. */
export const clockWarning = ({
  name,
  aheadMs,
}: {
  readonly name: string;
  readonly aheadMs: number | null;
}): string | null => {
  if (aheadMs === null || Math.abs(aheadMs) <= clockToleranceMs) return null;
  const seconds = Math.round(Math.abs(aheadMs) / 1000);
  const direction = aheadMs > 0 ? 'ahead of' : 'behind';
  return `the clock of receiver ${JSON.stringify(name)} is ${seconds} s ${direction} this agent's: names of backups will not tell when they were made`;
};
