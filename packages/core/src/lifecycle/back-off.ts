/** How long something that failed is left alone before it is tried again, in milliseconds: twice as long each time. */
export interface BackOff {
  readonly firstMs: number;
  readonly longestMs: number;
}

/** @param failures how often it has failed so far, from 1 */
export const pauseMs = ({ firstMs, longestMs }: BackOff, failures: number): number =>
  Math.min(longestMs, firstMs * 2 ** Math.min(failures - 1, 30));
