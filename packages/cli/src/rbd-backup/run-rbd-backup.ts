import { toFerryError, FerryError } from '@rbdferry/core/errors/ferry-error.js';
import { CommanderError } from 'commander';
import { runProgram } from '../run-program.js';
import { createOldProgram } from './program.js';
import { reword } from './reword.js';

/** Runs a command line of `rbd_backup`. Answers its exit status. Never throws. */
export const runRbdBackup = (args: readonly string[]): Promise<number> =>
  runProgram(() => createOldProgram().parseAsync(args, { from: 'user' }), reworded);

/** Our own errors in the old tool's words; a defect keeps what it was. */
const reworded = (thrown: unknown): unknown => {
  if (thrown instanceof CommanderError || !(thrown instanceof FerryError)) return thrown;
  const { code, message, hint } = toFerryError(thrown);
  return new FerryError(code, message, { hint: reword({ code, message, hint }).hint, cause: thrown });
};
