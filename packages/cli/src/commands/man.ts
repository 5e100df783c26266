import { FerryError } from '@rbdferry/core/errors/ferry-error.js';
import type { AddVerb } from '../verb.js';

/** The hidden verb that makes docs/man: `rbdferry __man rbdferry.1 > docs/man/rbdferry.1`. */
export const addMan: AddVerb = (program) => {
  program
    .command('__man', { hidden: true })
    .argument('<PAGE>')
    .action(async (name) => {
      const { makeManPage, manPages } = await import('../man/pages.js');
      const page = await makeManPage(name);
      if (page === undefined) throw new FerryError('USAGE', `there is no page ${name}: ${manPages.join(', ')}`);
      await (await import('../output.js')).print(page);
    });
};
