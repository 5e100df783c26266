import { CommanderError } from 'commander';
import { reportFailure } from './exit.js';
import { expectOutputErrors } from './write-output.js';

/**
 * Runs a command line. Answers its exit status. Never throws.
 *
 * @param reword puts what was thrown into the words of this program
 */
export const runProgram = async (
  parse: () => Promise<unknown>,
  reword: (thrown: unknown) => unknown = (thrown) => thrown,
): Promise<number> => {
  const helpWritten = expectOutputErrors();
  try {
    await helping(parse, helpWritten);
    return 0;
  } catch (thrown) {
    return reportFailure(reword(thrown));
  }
};

const helping = async (parse: () => Promise<unknown>, helpWritten: () => Promise<void>): Promise<void> => {
  try {
    await parse();
  } catch (thrown) {
    if (thrown instanceof CommanderError && thrown.exitCode === 0) await helpWritten();
    throw thrown;
  }
};
