import { FerryError } from '@rbdferry/core/errors/ferry-error.js';
import type { DeleteBackupsResponse } from '@rbdferry/core/gen/rbdferry/v1/control.js';
import { keptFromWire } from '@rbdferry/core/wire/kept-backup.js';

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
  | { readonly kind: 'kept'; readonly id: string; readonly reason: FerryError };

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
    case undefined:
      throw new FerryError(
        'PROTOCOL_MISMATCH',
        'the agent tells something of a deletion that this release does not know',
      );
  }
};
