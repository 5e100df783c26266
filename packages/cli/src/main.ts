import { createProgram } from './program.js';
import { runProgram } from './run-program.js';

/** `--version` in front of any verb is the verb `version`: commander's own can only print a fixed text. */
const withVersionAsVerb = (args: readonly string[]): string[] => {
  const at = args.findIndex((arg) => arg === '--version' || arg === '-V');
  const [first, second, ...more] = args.slice(0, Math.max(at, 0));
  const onlySocket =
    more.length === 0 && (second === undefined ? (first?.startsWith('--socket=') ?? true) : first === '--socket');
  return at >= 0 && onlySocket ? [...args.slice(0, at), 'version', ...args.slice(at + 1)] : [...args];
};

await runProgram(() => createProgram().parseAsync(withVersionAsVerb(process.argv.slice(2)), { from: 'user' }));
