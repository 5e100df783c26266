import { createProgram } from './program.js';
import { runProgram } from './run-program.js';

/** Runs a command line of `rbdferry`. Answers its exit status. Never throws. */
export const runRbdferry = (args: readonly string[]): Promise<number> =>
  runProgram(async () => {
    const words = withVersionAsVerb(args);
    const program = await createProgram(wantedBy(words));
    await program.parseAsync(words, { from: 'user' });
  });

/** A verb that is among the words is the one, or at least not missing. Completion knows them all. */
const wantedBy = (words: readonly string[]): ((verb: string) => boolean) => {
  const named = new Set(words);
  return (verb) => named.has(verb) || named.has('__complete');
};

/** `--version` in front of any verb is the verb `version`: commander's own can only print a fixed text. */
const withVersionAsVerb = (args: readonly string[]): string[] => {
  const at = args.findIndex((arg) => arg === '--version' || arg === '-V');
  const [first, second, ...more] = args.slice(0, Math.max(at, 0));
  const onlySocket =
    more.length === 0 && (second === undefined ? (first?.startsWith('--socket=') ?? true) : first === '--socket');
  return at >= 0 && onlySocket ? [...args.slice(0, at), 'version', ...args.slice(at + 1)] : [...args];
};
