import type { Backup } from '../chain.js';
import { describeHold, type Hold } from '../hold.js';
import { formatDuration } from '../quantity.js';
import type { Period } from './policy.js';

/** Why a backup stays. Some are nobody's rule: they protect it from all of them. */
export type KeepReason =
  /** It is the newest backup of its image. */
  | { readonly kind: 'newest' }
  /** It is the newest backup whose snapshot a source still has: without it the next backup would be a full one. */
  | { readonly kind: 'base' }
  /** The source could not be asked for its snapshots, so that this may be the one above. */
  | { readonly kind: 'source-unknown' }
  | { readonly kind: 'held'; readonly hold: Hold }
  /** It is younger than the policy's `minAgeMs`. */
  | { readonly kind: 'min-age'; readonly minAgeMs: number }
  | { readonly kind: 'id' }
  | { readonly kind: 'last'; readonly count: number }
  /** It is in one of the newest chains. */
  | { readonly kind: 'full'; readonly count: number }
  | { readonly kind: 'within'; readonly withinMs: number }
  /** It is the newest one of this hour, day, week, month or year. */
  | { readonly kind: Period; readonly bucket: string }
  /** It is younger than the age from which on backups go. */
  | { readonly kind: 'younger'; readonly olderThanMs: number }
  /** It shows the order of others that stay: the clock was wrong. */
  | { readonly kind: 'order' }
  /** The older tool made it, and nobody knows the pool of its image. */
  | { readonly kind: 'legacy' }
  /** The policy does not say what goes. */
  | { readonly kind: 'no-policy' };

/** Why a backup goes. */
export type GoReason = { readonly kind: 'no-rule' } | { readonly kind: 'older-than'; readonly olderThanMs: number };

/** What is to become of one backup. */
export type Decision = { readonly backup: Backup } & (
  | { readonly kind: 'kept'; readonly reasons: readonly KeepReason[] }
  | { readonly kind: 'goes'; readonly reasons: readonly GoReason[] }
);

/** As `kept: newest, weekly 2026-W12` or `goes: no rule keeps it`. */
export const describeDecision = ({ kind, reasons }: Decision): string =>
  `${kind}: ${reasons.map(describeReason).join(', ')}`;

export const describeReason = (reason: KeepReason | GoReason): string => {
  switch (reason.kind) {
    case 'newest':
      return 'newest';
    case 'base':
      return 'the next increment builds on it';
    case 'source-unknown':
      return 'the source could not be asked, and the next increment may build on it';
    case 'held':
      return describeHold(reason.hold);
    case 'min-age':
      return `younger than the min_age of ${formatDuration(reason.minAgeMs)}`;
    case 'id':
      return 'named to be kept';
    case 'last':
      return `one of the last ${reason.count}`;
    case 'full':
      return `in one of the newest ${reason.count} chains`;
    case 'within':
      return `within ${formatDuration(reason.withinMs)}`;
    case 'hourly':
    case 'daily':
    case 'weekly':
    case 'monthly':
    case 'yearly':
      return `${reason.kind} ${reason.bucket}`;
    case 'younger':
      return `not older than ${formatDuration(reason.olderThanMs)}`;
    case 'order':
      return 'shows the order of others, since the clock was wrong';
    case 'legacy':
      return 'made by the older tool, whose backups no policy touches';
    case 'no-policy':
      return 'no rule says that anything goes';
    case 'no-rule':
      return 'no rule keeps it';
    case 'older-than':
      return `older than ${formatDuration(reason.olderThanMs)}, and no rule keeps it`;
  }
};
