import { createProgram } from './program.js';
import { runProgram } from './run-program.js';

/** Runs a command line of `rbdferry`. Answers its exit status. Never throws. */
export const runRbdferry = (args: readonly string[]): Promise<number> =>
  runProgram(() => createProgram().parseAsync(withVersionAsVerb(args), { from: 'user' }));

/** `--version` in front of any verb is the verb `version`: commander's own can only print a fixed text. */
const withVersionAsVerb = (args: readonly string[]): string[] => {
  const at = args.findIndex((arg) => arg === '--version' || arg === '-V');
  const [first, second, ...more] = args.slice(0, Math.max(at, 0));
  const onlySocket =
    more.length === 0 && (second === undefined ? (first?.startsWith('--socket=') ?? true) : first === '--socket');
  return at >= 0 && onlySocket ? [...args.slice(0, at), 'version', ...args.slice(at + 1)] : [...args];
};
