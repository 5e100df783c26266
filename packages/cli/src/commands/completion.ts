import { Argument } from '@commander-js/extra-typings';
import { examples } from '../examples.js';
import type { AddVerb } from '../verb.js';

export const addCompletion: AddVerb = (program) => {
  program
    .command('completion')
    .description(
      'Prints a script that makes a shell complete verbs and options, and images, backups, chains, jobs, receivers and stores, for which it asks the agent.',
    )
    .addArgument(new Argument('<SHELL>', 'the shell').choices(['bash', 'zsh', 'fish'] as const))
    .addHelpText(
      'after',
      examples(
        'completion bash > /usr/share/bash-completion/completions/rbdferry',
        'completion zsh > /usr/local/share/zsh/site-functions/_rbdferry',
        'completion fish > /etc/fish/completions/rbdferry.fish',
      ),
    )
    .action(async (shell) => {
      const { print } = await import('../output.js');
      await print((await import('../completion/scripts.js')).completionScript(shell));
    });
};
