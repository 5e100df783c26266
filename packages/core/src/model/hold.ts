import { parsed, unparsed, type Parsed } from './parsed.js';

/** Somebody's word that a backup must not be removed, whatever any rule says. */
export interface Hold {
  /** When it ends by itself, in milliseconds since 1970; null when it stands until it is released. */
  readonly untilMs: number | null;
  /** What people are told; empty when nobody said. */
  readonly reason: string;
  /** When it was put on, by the receiver's clock, in milliseconds since 1970. */
  readonly sinceMs: number;
  /** Common name of the certificate that asked for it. */
  readonly client: string;
}

/** A hold as it is asked for. */
export type HoldTerms = Pick<Hold, 'untilMs' | 'reason'>;

/** What a reason may take, in bytes of UTF-8: it is kept in image-meta, and told with every listing. */
export const maxHoldReasonBytes = 1000;
/** The end of the year 9998: no year of five digits gets into any text. */
const latestMs = Date.parse('9999-01-01T00:00:00Z');

/** @param nowMs by the receiver's clock, in milliseconds since 1970 */
export const checkHold = ({ untilMs, reason }: HoldTerms, nowMs: number): Parsed<HoldTerms> => {
  const bytes = Buffer.byteLength(reason);
  if (bytes > maxHoldReasonBytes) {
    return unparsed(`the reason of a hold has ${bytes} bytes, more than ${maxHoldReasonBytes}`);
  }
  if (untilMs !== null && !(untilMs > nowMs && untilMs < latestMs)) {
    return unparsed(`a hold ends between now and the year 9999, not at ${timeText(untilMs)}`);
  }
  return parsed({ untilMs, reason });
};

/** One that has ended counts for nothing. */
export const isInForce = ({ untilMs }: Hold, nowMs: number): boolean => untilMs === null || untilMs > nowMs;

/** As `held until 2027-01-01T00:00:00Z ("audit")`. */
export const describeHold = ({ untilMs, reason }: Pick<Hold, 'untilMs' | 'reason'>): string =>
  `held${untilMs === null ? '' : ` until ${timeText(untilMs)}`}${reason === '' ? '' : ` (${JSON.stringify(reason)})`}`;

const timeText = (ms: number): string => {
  const date = new Date(ms);
  return Number.isNaN(date.getTime()) ? String(ms) : date.toISOString().replace(/\.\d+Z$/, 'Z');
};
