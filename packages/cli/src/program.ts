import { Command, Help, Option, type CommandUnknownOpts } from '@commander-js/extra-typings';
import { defaultSocket } from './agent.js';
import { examples } from './examples.js';
import type { Program } from './verb.js';
import { verbs, type Verb } from './verbs.js';

const exitStatuses = `
Exit status: 0 when it was done, 2 for a wrong command line, 130 when cancelled; each error has a code of its own on stderr
and its own status (docs/errors.md). stdout carries the result and nothing else.`;

/**
 * The tree of verbs, of which only those are loaded that are wanted; the others are there for the help. Verbs load what they need when they
 * run.
 *
 * Nothing in it ends the process: wrong usage throws a CommanderError after its message is written.
 */
export const createProgram = async (isWanted: (verb: string) => boolean = () => true): Promise<Program> => {
  const loaded = await Promise.all(verbs.map(async (verb) => (isWanted(verb.name) ? verb.load() : null)));
  const usages = new Map<CommandUnknownOpts, string>();
  const program = createEmptyProgram(usages);
  for (const [index, verb] of verbs.entries()) {
    const add = loaded[index];
    if (add == null) usages.set(addName(program, verb), verb.usage);
    else add(program);
    program.commands.at(-1)?.summary(verb.summary ?? '');
  }
  return program;
};

/** @param usages of verbs that know nothing but their names */
const createEmptyProgram = (usages: ReadonlyMap<CommandUnknownOpts, string>): Program =>
  new Command('rbdferry')
    .description(
      'Backs up Ceph RBD images to another cluster, and restores them. Talks to the rbdferry-agent of this machine.',
    )
    .addOption(new Option('--socket <PATH>', "the agent's socket").env('RBDFERRY_SOCKET').default(defaultSocket))
    .configureHelp({
      showGlobalOptions: true,
      subcommandTerm: (command) => {
        const usage = usages.get(command);
        return usage === undefined ? new Help().subcommandTerm(command) : `${command.name()} ${usage}`.trimEnd();
      },
    })
    .exitOverride()
    .addHelpText('after', examples('backup rbd/vm1', 'list rbd/vm1', 'jobs --active', '--version'))
    .addHelpText('after', exitStatuses);

const addName = (program: Program, { name, summary }: Verb): CommandUnknownOpts =>
  program.command(name, { hidden: summary === null });
