/** Why a root folder cannot be had: a fact with quoted values, and on a line of its own what to do. */
export class SetupError extends Error {
  override readonly name = 'SetupError';

  constructor(fact: string, hint?: string) {
    super(hint === undefined ? fact : `${fact}\nhint: ${hint}`);
  }
}
