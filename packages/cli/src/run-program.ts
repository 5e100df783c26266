import { CommanderError } from 'commander';
import { reportFailure } from './exit.js';
import { expectOutputErrors, helpWritten } from './write-output.js';

/**
 * Runs a command line, and sets the exit status of the process by how it ends.
 *
 * @param reword puts what was thrown into the words of this program
 */
export const runProgram = async (
  parse: () => Promise<unknown>,
  reword: (thrown: unknown) => unknown = (thrown) => thrown,
): Promise<void> => {
  expectOutputErrors();
  try {
    await helping(parse);
  } catch (thrown) {
    process.exitCode = reportFailure(reword(thrown));
  }
};

const helping = async (parse: () => Promise<unknown>): Promise<void> => {
  try {
    await parse();
  } catch (thrown) {
    if (thrown instanceof CommanderError && thrown.exitCode === 0) await helpWritten();
    throw thrown;
  }
};
