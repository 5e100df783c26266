import { Option } from '@commander-js/extra-typings';
import type { AddVerb } from '../verb.js';

/** The hidden verb behind the scripts of `completion`: answers a candidate a line, and never an error. */
export const addComplete: AddVerb = (program) => {
  program
    .command('__complete', { hidden: true })
    .helpOption(false)
    .addOption(new Option('--shell <SHELL>').choices(['bash', 'zsh', 'fish'] as const).makeOptionMandatory())
    .option('--line <LINE>', 'the line up to the cursor (bash)')
    .option('--breaks <CHARACTERS>', 'where the shell breaks words (bash)')
    .argument('[WORDS...]', 'the words up to the cursor (zsh, fish)')
    .action(async (words, options) => {
      const { complete } = await import('../completion/complete.js');
      await complete(program, { words, ...options });
    });
};
