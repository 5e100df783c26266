import type { Parsed } from '../model/parsed.js';
import type { ErrorCode } from './registry.js';
import { FerryError } from './ferry-error.js';

/** The value of a model parser's answer, or a {@link FerryError} with this code and the parser's words. */
export const orThrow = <T>(parsed: Parsed<T>, code: ErrorCode): T => {
  if (parsed.ok) return parsed.value;
  throw new FerryError(code, parsed.problem);
};
