import type { CommandUnknownOpts, Option } from '@commander-js/extra-typings';
import { software } from '@rbdferry/core/rpc/protocol.js';
import { bold, definition, italic, paragraph, roff, section, subsection, titleLine, verbatim } from './roff.js';

export interface PageFacts {
  /** What the command is, in a few words. */
  readonly purpose: string;
  /** Sections behind the generated ones: a title and paragraphs. */
  readonly more: readonly (readonly [title: string, ...paragraphs: string[]])[];
  readonly seeAlso: readonly string[];
}

/** The man page (section 1) of a command, from its tree of verbs: it can say nothing that the command does not. */
export const manPage = (program: CommandUnknownOpts, facts: PageFacts): string =>
  [
    '.\\" Made from the tree of commands by packages/cli/src/man; do not edit.',
    titleLine(program.name(), 1, software),
    section('NAME'),
    `${roff(program.name())} \\- ${roff(facts.purpose)}`,
    section('SYNOPSIS'),
    synopsis(program),
    section('DESCRIPTION'),
    roff(program.description()),
    ...options(program, section('OPTIONS')),
    ...verbSections(program),
    ...trailer(program),
    ...facts.more.flatMap(([title, ...texts]) => [section(title), ...texts.map((text) => paragraph(roff(text)))]),
    section('SEE ALSO'),
    facts.seeAlso
      .map((page) => page.replace(/^(.*)(\(\d\))$/, (_, name: string, at: string) => bold(name) + at))
      .join(', '),
    '',
  ].join('\n');

const synopsis = (command: CommandUnknownOpts): string => {
  const words = command.registeredArguments.map((argument) => {
    const name = argument.variadic ? `${argument.name()}...` : argument.name();
    return argument.required ? italic(name) : `[${italic(name)}]`;
  });
  const verb = command.commands.length > 0 ? [italic('VERB')] : [];
  return [bold(pathOf(command)), `[${italic('OPTION')}...]`, ...verb, ...words].join(' ');
};

const pathOf = (command: CommandUnknownOpts): string =>
  command.parent === null ? command.name() : `${pathOf(command.parent)} ${command.name()}`;

const options = (command: CommandUnknownOpts, title: string): string[] => {
  const visible = command
    .createHelp()
    .visibleOptions(command)
    .filter(({ long }) => command.parent === null || long !== '--help');
  return visible.length === 0
    ? []
    : [title, ...visible.map((option) => definition(bold(option.flags), roff(optionText(command, option))))];
};

const optionText = (command: CommandUnknownOpts, option: Option): string =>
  command.createHelp().optionDescription(option);

/** Each verb that does something, in the order of the help. */
const leaves = (command: CommandUnknownOpts): CommandUnknownOpts[] =>
  command
    .createHelp()
    .visibleCommands(command)
    .filter((verb) => verb.name() !== 'help')
    .flatMap((verb) => (verb.commands.length > 0 ? leaves(verb) : [verb]));

const verbSections = (program: CommandUnknownOpts): string[] => {
  const verbs = leaves(program);
  if (verbs.length === 0) return [];
  return [section('VERBS'), ...verbs.flatMap(verbSection)];
};

const verbSection = (verb: CommandUnknownOpts): string[] => [
  subsection(pathOf(verb)),
  synopsis(verb),
  paragraph(roff(verb.description())),
  ...verb
    .createHelp()
    .visibleArguments(verb)
    .map((argument) => definition(italic(argument.name()), roff(argument.description))),
  ...options(verb, '').filter((line) => line !== ''),
  ...examplesOf(verb),
];

/** What stands below the options in the help: commander tells it only together with the help. */
const textBelow = (command: CommandUnknownOpts): string[] => {
  let text = '';
  command.configureOutput({ writeOut: (written) => (text += written) }).outputHelp();
  return text.slice(command.helpInformation().length).trim().split('\n');
};

const examplesOf = (command: CommandUnknownOpts): string[] => {
  const lines = textBelow(command).filter((line) => line.startsWith('  $ '));
  return lines.length === 0
    ? []
    : [paragraph(lines.length === 1 ? 'Example:' : 'Examples:'), verbatim(lines.map(unindent))];
};

const unindent = (line: string): string => line.replace(/^ {2}/, '');

/** What stands below the options of the whole command: blocks with a heading, and paragraphs. */
const trailer = (program: CommandUnknownOpts): string[] =>
  textBelow(program)
    .join('\n')
    .split(/\n\n+/)
    .flatMap((block) => {
      const [first = '', ...rest] = block.split('\n');
      return first.endsWith(':') && rest.length > 0
        ? [section(first.slice(0, -1).toUpperCase()), verbatim(rest.map(unindent))]
        : [section('NOTES'), roff(block)];
    });
