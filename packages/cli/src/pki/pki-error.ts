/** A certificate or authority that cannot be made as asked. */
export class PkiError extends Error {
  override readonly name = 'PkiError';
  /** The likely remedy. */
  readonly hint: string;

  constructor(message: string, options: { readonly hint: string; readonly cause?: unknown }) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.hint = options.hint;
  }
}
