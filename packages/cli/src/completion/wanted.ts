import type { Argument, CommandUnknownOpts, Option } from '@commander-js/extra-typings';

/** What the word at the cursor may become. */
export interface Candidate {
  readonly value: string;
  /** Said beside it by shells that can. */
  readonly description: string;
}

/** What only the agent knows. */
export type AgentValues =
  'images' | 'ids' | 'ids-and-images' | 'chains' | 'jobs' | 'active-jobs' | 'receivers' | 'stores';

export type Wanted =
  | { readonly kind: 'nothing' }
  | { readonly kind: 'files' }
  | { readonly kind: 'words'; readonly words: readonly Candidate[] }
  | { readonly kind: 'agent'; readonly values: AgentValues };

/** What the typed words say of the word at the cursor. */
export interface Completion {
  readonly wanted: Wanted;
  /** Goes before every candidate: `--mode=` of `--mode=fu`. */
  readonly lead: string;
  /** What is typed of the candidate. */
  readonly typed: string;
  /** Values of the options before, by their long names. */
  readonly given: ReadonlyMap<string, string>;
}

/** Walks the tree of verbs along the typed words. @param words those before the cursor, without the command's name */
export const completionOf = (program: CommandUnknownOpts, words: readonly string[], current: string): Completion => {
  const place = walk(program, words);
  const { command, pending, given } = place;
  if (pending !== undefined) return { wanted: optionValues(pending), lead: '', typed: current, given };
  const [, name, value] = /^(--[\w-]+)=(.*)$/s.exec(current) ?? [];
  if (name !== undefined && value !== undefined && !place.onlyArguments) {
    const option = findOption(command, name);
    const wanted: Wanted = option === undefined ? { kind: 'nothing' } : optionValues(option);
    return { wanted, lead: `${name}=`, typed: value, given };
  }
  return { wanted: wordOrOption(place, current), lead: '', typed: current, given };
};

interface Place {
  readonly command: CommandUnknownOpts;
  /** Arguments of the command that are typed already. */
  readonly argumentsBefore: number;
  /** The option whose value is at the cursor. */
  readonly pending: Option | undefined;
  /** Behind `--`. */
  readonly onlyArguments: boolean;
  readonly given: ReadonlyMap<string, string>;
}

const walk = (program: CommandUnknownOpts, words: readonly string[]): Place => {
  const given = new Map<string, string>();
  let command = program;
  let argumentsBefore = 0;
  let pending: Option | undefined;
  let onlyArguments = false;
  for (const word of words) {
    if (pending !== undefined) {
      given.set(pending.long ?? '', word);
      pending = undefined;
    } else if (!onlyArguments && word === '--') {
      onlyArguments = true;
    } else if (!onlyArguments && word.startsWith('-') && word !== '-') {
      const [name, value] = splitOnce(word, '=');
      const option = findOption(command, name);
      if (option?.long === undefined) continue;
      if (takesValue(option) && value === undefined) pending = option;
      else given.set(option.long, value ?? '');
    } else {
      const verb = argumentsBefore === 0 ? findVerb(command, word) : undefined;
      // `help` takes the verbs that stand beside it.
      if (verb === undefined && word === 'help' && command.commands.length > 0) continue;
      if (verb === undefined) argumentsBefore += 1;
      else command = verb;
    }
  }
  return { command, argumentsBefore, pending, onlyArguments, given };
};

const wordOrOption = (place: Place, current: string): Wanted => {
  const { command, argumentsBefore, onlyArguments, given } = place;
  if (current.startsWith('-') && !onlyArguments) return { kind: 'words', words: optionNames(command, given) };
  if (command.commands.length > 0) {
    return argumentsBefore === 0 ? { kind: 'words', words: verbsOf(command) } : { kind: 'nothing' };
  }
  const all = command.registeredArguments;
  const argument = all[argumentsBefore] ?? (all.at(-1)?.variadic === true ? all.at(-1) : undefined);
  return argument === undefined ? { kind: 'nothing' } : argumentValues(argument, command, given);
};

const splitOnce = (text: string, at: string): [string, string | undefined] => {
  const index = text.indexOf(at);
  return index < 0 ? [text, undefined] : [text.slice(0, index), text.slice(index + 1)];
};

const takesValue = ({ required, optional }: Option): boolean => required || optional;

const findVerb = (command: CommandUnknownOpts, name: string): CommandUnknownOpts | undefined =>
  command.commands.find((verb) => verb.name() === name || verb.aliases().includes(name));

const findOption = (command: CommandUnknownOpts, name: string): Option | undefined =>
  optionsOf(command).find(({ long, short }) => name === long || name === short);

/** Its own and those of the commands above it, which may stand behind it too. */
const optionsOf = (command: CommandUnknownOpts): Option[] => [
  ...command.createHelp().visibleOptions(command),
  ...(command.parent === null ? [] : optionsOf(command.parent)),
];

const optionNames = (command: CommandUnknownOpts, given: ReadonlyMap<string, string>): Candidate[] => {
  const names = new Map<string, Candidate>();
  for (const { long, description } of optionsOf(command)) {
    if (long !== undefined && !given.has(long) && !names.has(long)) names.set(long, { value: long, description });
  }
  return [...names.values()];
};

const verbsOf = (command: CommandUnknownOpts): Candidate[] =>
  command
    .createHelp()
    .visibleCommands(command)
    .map((verb) => ({ value: verb.name(), description: verb.summary() || verb.description() }));

const choices = (values: readonly string[]): Wanted => ({
  kind: 'words',
  words: values.map((value) => ({ value, description: '' })),
});

const byPlaceholder: Readonly<Record<string, Wanted>> = {
  IMAGE: { kind: 'agent', values: 'images' },
  ID: { kind: 'agent', values: 'ids' },
  CHAIN: { kind: 'agent', values: 'chains' },
  DIR: { kind: 'files' },
  PATH: { kind: 'files' },
};

const optionValues = (option: Option): Wanted => {
  if (option.argChoices !== undefined) return choices(option.argChoices);
  if (option.long === '--receiver') return { kind: 'agent', values: 'receivers' };
  if (option.long === '--store') return { kind: 'agent', values: 'stores' };
  const [, placeholder = ''] = /[<[](\w+)/.exec(option.flags) ?? [];
  return byPlaceholder[placeholder] ?? { kind: 'nothing' };
};

const rules = ['--older-than', '--keep-last', '--keep-full', '--source-snapshots'];

const argumentValues = (
  argument: Argument,
  command: CommandUnknownOpts,
  given: ReadonlyMap<string, string>,
): Wanted => {
  if (argument.argChoices !== undefined) return choices(argument.argChoices);
  switch (argument.name()) {
    case 'JOB':
      return { kind: 'agent', values: command.name() === 'cancel' ? 'active-jobs' : 'jobs' };
    case 'WHAT':
      if (command.name() === 'du') return { kind: 'agent', values: 'ids-and-images' };
      if (command.name() === 'restore') {
        return { kind: 'agent', values: given.has('--latest') || given.has('--at') ? 'images' : 'ids' };
      }
      return { kind: 'agent', values: rules.some((rule) => given.has(rule)) ? 'images' : 'ids' };
    default:
      return byPlaceholder[argument.name()] ?? { kind: 'nothing' };
  }
};
