import { snapTime, splitChainName, timestampToMs } from './backup-id.js';
import { newestFirst, type Placed } from './backup-order.js';
import type { Backup, Chain } from './chain.js';
import { ofImage } from './image-backups.js';
import type { ImageSpec } from './image-spec.js';
import { clockToleranceMs } from './name-time.js';

/** What of a chain matters here. */
type Line = Pick<Chain, 'name' | 'backups'>;

/**
 * The chains with what of them may be restored under the name of this image: its own backups, whatever chain they are in and whichever image
 * had the name then, and all backups of the older tool for an image of that name, of whatever pool.
 */
export const restorable = <C extends Line & Pick<Chain, 'legacy'>>(chains: readonly C[], image: ImageSpec): C[] => [
  ...ofImage(
    chains.filter(({ legacy }) => !legacy),
    image,
  ),
  ...chains.filter(({ legacy, name }) => legacy && splitChainName(name)?.image === image.image),
];

/** The clusters that these backups are of, by fsid. */
export const clustersOf = (chains: readonly Pick<Chain, 'backups'>[]): Set<string> =>
  new Set(chains.flatMap(({ backups }) => backups.flatMap(({ source }) => source?.identity.fsid ?? [])));

/**
 * When the snapshot of each backup of one image was made, which is the moment that the backup holds. The name says so, by the clock of the
 * agent. That clock may be wrong by years, so the name is believed as far as the receiver's clock bears it out: the snapshot was made
 * after the backup before it was committed, and before its own commit. What lies outside of that by more than a minute is moved to
 * the nearer end. Where the receiver's own clock was wrong for certain (a commit before an earlier one, or after now) it bears out nothing.
 *
 * @param nowMs by the receiver's clock, in milliseconds since 1970
 * @returns milliseconds since 1970, for each backup in its place; never before the one that it follows
 */
export const snapshotTimes = ({ backups }: Pick<Chain, 'backups'>, nowMs: number): number[] => {
  let committedMs = Number.NEGATIVE_INFINITY;
  let latestMs = Number.NEGATIVE_INFINITY;
  return backups.map((backup) => {
    const isSane = backup.committedAtMs >= committedMs && backup.committedAtMs <= nowMs;
    const notAfterMs = isSane ? backup.committedAtMs : Number.POSITIVE_INFINITY;
    latestMs = Math.max(latestMs, within(namedMs(backup), committedMs, notAfterMs));
    if (isSane) committedMs = backup.committedAtMs;
    return latestMs;
  });
};

const namedMs = ({ snap, committedAtMs }: Backup): number => {
  const time = snapTime(snap);
  const ms = time === undefined ? Number.NaN : timestampToMs(time);
  return Number.isNaN(ms) ? committedAtMs : ms;
};

const within = (ms: number, notBeforeMs: number, notAfterMs: number): number => {
  if (ms > notAfterMs + clockToleranceMs) return notAfterMs;
  return ms < notBeforeMs - clockToleranceMs ? notBeforeMs : ms;
};

export interface Wished {
  /** The moment that the image is to be as it was at, in milliseconds since 1970; null for the newest there is. */
  readonly atMs: number | null;
  /** By the receiver's clock, in milliseconds since 1970. */
  readonly nowMs: number;
  /** Of the cluster whose image is meant when others have one of that name; null when that is not known. */
  readonly fsid: string | null;
}

export type Choice<C extends Line> =
  | ({ readonly kind: 'chosen' } & Placed<C>)
  /** There is no backup at all. */
  | { readonly kind: 'none' }
  /** All are from after that moment. */
  | { readonly kind: 'too-early'; readonly oldest: Backup }
  /** Of images of that name on several clusters, and nobody knows which one is meant: the newest of each. */
  | { readonly kind: 'several'; readonly newest: readonly Backup[] };

/**
 * The newest backup that is not after a moment. Without a moment it is the newest by the order of the store, whatever the clocks said; with one
 * the backup whose snapshot was made last before it ({@link snapshotTimes}), and of several the newest by that order.
 *
 * Backups of the own cluster, and those of the older tool, come before those of other clusters, which count where there is no other:
 * after a disaster the image is of a new cluster.
 *
 * @param chains with the backups of one image and no others, as {@link restorable} or `byImage` give them
 */
export const newestNotAfter = <C extends Line>(chains: readonly C[], { atMs, nowMs, fsid }: Wished): Choice<C> => {
  const times = new Map<Backup, number>();
  for (const chain of chains) {
    const made = snapshotTimes(chain, nowMs);
    for (const [index, backup] of chain.backups.entries()) times.set(backup, made[index] ?? nowMs);
  }
  const madeMs = (backup: Backup) => times.get(backup) ?? nowMs;
  const all = newestFirst(chains);
  const oldest = all.map(({ backup }) => backup).reduce<Backup | null>(earlierBy(madeMs), null);
  if (oldest === null) return { kind: 'none' };
  const early = atMs === null ? all : all.filter(({ backup }) => madeMs(backup) <= atMs);
  if (early.length === 0) return { kind: 'too-early', oldest };
  const own = early.filter(({ backup: { source } }) => source === null || source.identity.fsid === fsid);
  const candidates = own.length > 0 && fsid !== null ? own : early;
  const byTime = atMs === null ? candidates : candidates.toSorted((a, b) => madeMs(b.backup) - madeMs(a.backup));
  const newest = newestOfEachCluster(byTime);
  if (newest.length > 1) return { kind: 'several', newest };
  const [chosen] = byTime;
  return chosen === undefined ? { kind: 'none' } : { kind: 'chosen', ...chosen };
};

const earlierBy =
  (madeMs: (backup: Backup) => number) =>
  (earliest: Backup | null, backup: Backup): Backup =>
    earliest === null || madeMs(backup) < madeMs(earliest) ? backup : earliest;

/** Without those of the older tool, which say nothing of their cluster. */
const newestOfEachCluster = (ordered: readonly Placed<Line>[]): Backup[] => {
  const newest = new Map<string, Backup>();
  for (const { backup } of ordered) {
    const fsid = backup.source?.identity.fsid;
    if (fsid !== undefined && !newest.has(fsid)) newest.set(fsid, backup);
  }
  return [...newest.values()];
};
