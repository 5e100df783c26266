import type { Hold as WireHold } from '@rbdferry/core/gen/rbdferry/v1/model.js';
import { describeHold } from '@rbdferry/core/model/hold.js';
import { dateOrNull, orNull } from './job.js';

/** Why a backup cannot be deleted now. This is the JSON shape too. */
export interface HoldView {
  /** When it ends by itself; null when it stands until it is released. */
  readonly until: Date | null;
  readonly reason: string | null;
  readonly since: Date | null;
  /** Common name of the certificate that asked for it. */
  readonly client: string | null;
}

export const holdView = (hold: WireHold | undefined): HoldView | null =>
  hold === undefined
    ? null
    : {
        until: dateOrNull(hold.untilMs),
        reason: orNull(hold.reason),
        since: dateOrNull(hold.sinceMs),
        client: orNull(hold.client),
      };

/** As `held until 2027-06-30T00:00:00Z ("audit")`. */
export const holdText = ({ until, reason }: HoldView): string =>
  describeHold({ untilMs: until?.getTime() ?? null, reason: reason ?? '' });
