import type { PushIntent } from '../port.js';
import type { KnownHeadState } from './backup-meta.js';

/** What is written on a chain before anything in it changes. @param nowMs in milliseconds since 1970 */
export const receivingState = ({ snap, base, client }: PushIntent, nowMs: number): KnownHeadState => ({
  kind: 'receiving',
  v: 1,
  snap,
  base: base?.snap ?? null,
  client,
  since: new Date(nowMs).toISOString(),
});
