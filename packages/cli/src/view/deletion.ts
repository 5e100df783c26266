import { FerryError } from '@rbdferry/core/errors/ferry-error.js';
import type { BackupDecision, DeleteBackupsResponse, PolicyUsed } from '@rbdferry/core/gen/rbdferry/v1/control.js';
import { keptFromWire } from '@rbdferry/core/wire/kept-backup.js';
import { holdView, type HoldView } from './hold.js';
import { orNull } from './job.js';

/** What a deletion tells while it goes on. */
export type DeletionEvent =
  | {
      readonly kind: 'deleted';
      readonly id: string;
      /** When the trash of the backup cluster lets go of it; null when it is gone for good. */
      readonly trashedUntil: Date | null;
    }
  | { readonly kind: 'note'; readonly text: string }
  /** It was to go and stays. */
  | { readonly kind: 'kept'; readonly id: string; readonly reason: FerryError }
  /** Before anything goes: the policy that is used, and what is to become of each backup by it. */
  | { readonly kind: 'policy'; readonly policy: PolicyView }
  | { readonly kind: 'decided'; readonly decision: DecisionView };

/** The rules that a prune goes by. This is the JSON shape too. */
export interface PolicyView {
  /** Where they come from. */
  readonly from: 'store' | 'request';
  readonly text: string;
  /** Numbers of backups, hours, days and so on; 0 for none. */
  readonly keep: Readonly<Record<'last' | 'hourly' | 'daily' | 'weekly' | 'monthly' | 'yearly', number>> & {
    readonly withinMs: bigint;
  };
  readonly minAgeMs: bigint;
  readonly timeZone: string;
}

/** What is to become of one backup. This is the JSON shape too. */
export interface DecisionView {
  readonly id: string;
  /** POOL[/NAMESPACE]/IMAGE; null for a backup of the older tool. */
  readonly image: string | null;
  readonly goes: boolean;
  /** As `kept: weekly 2026-W12`. */
  readonly text: string;
  readonly reasons: readonly ReasonView[];
}

export interface ReasonView {
  /** A stable word, as docs/operations.md lists them. */
  readonly kind: string;
  readonly text: string;
  /** Which hour, day, week, month or year it is; null for other reasons. */
  readonly bucket: string | null;
  readonly hold: HoldView | null;
}

/** @throws PROTOCOL_MISMATCH when the agent speaks of something this release does not know */
export const deletionView = ({ event, trashedUntilMs }: DeleteBackupsResponse): DeletionEvent => {
  switch (event?.$case) {
    case 'deleted':
      return {
        kind: 'deleted',
        id: event.value,
        trashedUntil: trashedUntilMs === 0n ? null : new Date(Number(trashedUntilMs)),
      };
    case 'note':
      return { kind: 'note', text: event.value };
    case 'kept': {
      const { id, reason } = keptFromWire(event.value);
      return { kind: 'kept', id, reason };
    }
    case 'policy':
      return { kind: 'policy', policy: policyView(event.value) };
    case 'decided':
      return { kind: 'decided', decision: decisionView(event.value) };
    case undefined:
      throw new FerryError(
        'PROTOCOL_MISMATCH',
        'the agent tells something of a deletion that this release does not know',
      );
  }
};

const policyView = ({ rules, ofStore, text }: PolicyUsed): PolicyView => ({
  from: ofStore ? 'store' : 'request',
  text,
  keep: {
    last: rules?.last ?? 0,
    hourly: rules?.hourly ?? 0,
    daily: rules?.daily ?? 0,
    weekly: rules?.weekly ?? 0,
    monthly: rules?.monthly ?? 0,
    yearly: rules?.yearly ?? 0,
    withinMs: rules?.withinMs ?? 0n,
  },
  minAgeMs: rules?.minAgeMs ?? 0n,
  timeZone: rules?.timeZone ?? '',
});

const decisionView = ({ backupId, image, goes, reasons }: BackupDecision): DecisionView => ({
  id: backupId,
  image: orNull(image),
  goes,
  text: `${goes ? 'goes' : 'kept'}: ${reasons.map(({ text }) => text).join(', ')}`,
  reasons: reasons.map(({ kind, text, bucket, hold }) => ({
    kind,
    text,
    bucket: orNull(bucket),
    hold: holdView(hold),
  })),
});
