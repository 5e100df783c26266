import prettyBytes from 'pretty-bytes';
import prettyMs from 'pretty-ms';

/** Bytes in binary units with three digits, like `1.46 GiB`. */
export const bytes = (count: bigint | number): string => prettyBytes(Number(count), { binary: true });

/** `-` where nothing is known. */
export const bytesOrDash = (count: bigint | null): string => (count === null ? '-' : bytes(count));

export const rate = (bytesPerSecond: bigint | number): string => `${bytes(bytesPerSecond)}/s`;

/** At most two units, like `1m 20s`; below a second in milliseconds. */
export const duration = (ms: number): string =>
  prettyMs(Math.max(0, Math.round(ms)), { secondsDecimalDigits: ms < 10_000 ? 1 : 0, unitCount: 2 });

/** `2026-11-24 10:40:39Z`: to the second, in UTC, as in the names of backups. */
export const time = (at: Date | null): string =>
  at === null ? '-' : `${at.toISOString().slice(0, 19).replace('T', ' ')}Z`;

/** A whole number of per cent, below 100: that is for what is committed. */
export const percentOf = (done: bigint, total: bigint): number =>
  total <= 0n ? 0 : Math.min(99, Number((done * 100n) / total));
