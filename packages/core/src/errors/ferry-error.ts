import { errorRegistry, type ErrorCode, type ErrorEntry } from './registry.js';

export interface FerryErrorOptions {
  /** The likely remedy; the registry's when left out. */
  readonly hint?: string;
  readonly cause?: unknown;
}

/**
 * The one error class whose code, message and hint reach a user.
 *
 * The message is a lower-case fact with the offending value quoted; the hint says what to do about it.
 */
export class FerryError extends Error {
  override readonly name = 'FerryError';
  readonly code: ErrorCode;
  readonly hint: string;

  constructor(code: ErrorCode, message: string, options: FerryErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.hint = options.hint ?? errorRegistry[code].hint;
  }

  get entry(): ErrorEntry {
    return errorRegistry[this.code];
  }
}

/** Turns whatever was thrown into a {@link FerryError}; what is not one already is a defect of ours (`INTERNAL`). */
export const toFerryError = (thrown: unknown): FerryError => {
  if (thrown instanceof FerryError) return thrown;
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  return new FerryError('INTERNAL', message, { cause: thrown });
};

/** The reason of an aborted signal as an error; a bare `abort()` counts as a cancellation. */
export const abortReason = (signal: AbortSignal): FerryError =>
  signal.reason instanceof FerryError
    ? signal.reason
    : new FerryError('CANCELLED', 'the operation was cancelled', { cause: signal.reason });

/** Throws {@link abortReason} when the signal is aborted. */
export const throwIfAborted = (signal: AbortSignal | undefined): void => {
  if (signal?.aborted === true) throw abortReason(signal);
};
