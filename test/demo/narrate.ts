import { execa } from 'execa';

const started = performance.now();

const seconds = (): string => ((performance.now() - started) / 1000).toFixed(1).padStart(5);

/** A heading of the demo. */
export const step = (text: string): void => {
  process.stdout.write(`\n== ${seconds()} s  ${text}\n`);
};

/** A line of the demo. */
export const say = (text: string): void => {
  process.stdout.write(`   ${text.replaceAll('\n', '\n   ')}\n`);
};

/**
 * Runs a command so that its progress bar shows when we are on a terminal ourselves; what it prints on stdout is shown and
 * returned.
 */
export const runInTerminal = async (
  name: string,
  command: readonly string[],
  args: readonly string[],
): Promise<string> => {
  say(`$ ${name} ${args.join(' ')}`);
  const [file = '', ...rest] = command;
  const { stdout } = await execa(file, [...rest, ...args], { stdin: 'ignore', stderr: 'inherit' });
  say(stdout);
  return stdout;
};
