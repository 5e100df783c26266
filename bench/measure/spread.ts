/** Median and extremes of some figures. */
export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
  readonly count: number;
}

/** @throws when there are no figures */
export const spreadOf = (figures: readonly number[]): Spread => {
  const sorted = [...figures].sort((a, b) => a - b);
  const [min] = sorted;
  const max = sorted.at(-1);
  if (min === undefined || max === undefined) throw new Error('no figures to summarise');
  return { median: medianOf(sorted), min, max, count: sorted.length };
};

const medianOf = (sorted: readonly number[]): number => {
  const middle = sorted.length / 2;
  const low = sorted[Math.ceil(middle) - 1] ?? Number.NaN;
  const high = sorted[Math.floor(middle)] ?? Number.NaN;
  return (low + high) / 2;
};

/** The ratio round by round: what disturbed one side of a round usually disturbed the other as well. */
export const ratioOf = (ours: readonly number[], peers: readonly number[]): Spread =>
  spreadOf(ours.flatMap((our, round) => (peers[round] === undefined ? [] : [our / peers[round]])));
