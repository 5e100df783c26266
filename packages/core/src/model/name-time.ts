import { parseBackupId, snapTime, timestampToMs, type SnapName } from './backup-id.js';
import type { Backup } from './chain.js';

/** Clocks that differ by more than this are worth a warning; milliseconds. */
export const clockToleranceMs = 60_000;

/**
 * What is odd about the time in the name of a new backup, in words that go after "the time in the name of BACKUP". Nothing depends on
 * that time, but people read it.
 *
 * @param nowMs by the receiver's clock, in milliseconds since 1970
 */
export const oddNameTimes = ({ snap, baseId }: Pick<Backup, 'snap' | 'baseId'>, nowMs: number): string[] => {
  const time = snapTime(snap);
  if (time === undefined) return [];
  const aheadMs = timestampToMs(time) - nowMs;
  const base = baseId === null ? undefined : baseSnap(baseId);
  return [
    ...(aheadMs > clockToleranceMs
      ? [`lies ${Math.round(aheadMs / 1000)} s in the future of the receiver's clock`]
      : []),
    ...(base !== undefined && snap <= base ? [`is not after that of its base ${base}`] : []),
  ];
};

const baseSnap = (id: string): SnapName | undefined => {
  const parts = parseBackupId(id);
  return parts.ok ? parts.value.snap : undefined;
};
