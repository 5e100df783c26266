import { FerryError } from '@rbdferry/core/errors/ferry-error.js';

/** A file, or stdout, could not be written. @param what is left, for the hint */
export const writeFailure = (what: string, cause: unknown, left: string): FerryError => {
  const reason = cause instanceof Error ? cause.message.replace(/, \w+( '.*')?( -> '.*')?$/, '') : String(cause);
  return new FerryError('OUTPUT_FAILED', `could not write to ${what}: ${reason}`, {
    hint: `${left}; make room or write it elsewhere, and ask again`,
  });
};

export const codeOf = (thrown: unknown): unknown =>
  thrown instanceof Error && 'code' in thrown ? thrown.code : undefined;
