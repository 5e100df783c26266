import { withAgent } from '../agent.js';
import { print } from '../output.js';
import type { Program } from '../verb.js';
import { askAgent } from './agent-values.js';
import type { Shell } from './scripts.js';
import { splitLine } from './split-line.js';
import { completionOf, type Candidate, type Completion } from './wanted.js';

/** Somebody holds the TAB key: what does not come in this time does not come. */
const deadlineMs = 1_000;

export interface CompleteRequest {
  readonly shell: Shell;
  /** The words up to the cursor, without the command; the last is the one to complete. */
  readonly words: readonly string[];
  /** Instead of words: the whole line up to the cursor. */
  readonly line?: string | undefined;
  /** Characters at which the shell breaks words that we do not. */
  readonly breaks?: string | undefined;
}

/** Prints what the word at the cursor may become: candidates, or `:files`. */
export const complete = async (program: Program, request: CompleteRequest): Promise<void> => {
  const { before, current, quoted } = typedOf(request);
  const completion = completionOf(program, before, current);
  const { wanted, lead, typed } = completion;
  if (wanted.kind === 'files') {
    await print(':files\n');
    return;
  }
  const candidates = (await candidatesOf(program, completion)).filter(({ value }) => value.startsWith(typed));
  const taken = quoted ? 0 : brokenAt(current, request.breaks ?? '');
  const lines = candidates.map(({ value, description }) => {
    const word = `${lead}${value}`.slice(taken);
    return request.shell === 'bash' || description === '' ? word : `${word}\t${description.replaceAll(/\s+/g, ' ')}`;
  });
  if (lines.length > 0) await print(`${lines.join('\n')}\n`);
  // A call to an agent that hangs would keep the shell waiting.
  process.exit(0);
};

const typedOf = ({ words, line }: CompleteRequest) => {
  if (line === undefined) return { before: words.slice(0, -1), current: words.at(-1) ?? '', quoted: false };
  const typed = splitLine(line);
  return { ...typed, before: typed.before.slice(1) };
};

/**
 * How much of a word bash takes for words of their own and leaves as it is: up to the last of its break characters. An `@` is one,
 * but it belongs to what is replaced (tried with bash 5.2): bash completes names of hosts behind it.
 */
const brokenAt = (word: string, breaks: string): number => {
  const within = [...breaks].filter((char) => !/[\s"'\\]/.test(char));
  const places = within.map((char) => word.lastIndexOf(char) + (char === '@' ? 0 : 1));
  return Math.max(0, ...places);
};

const candidatesOf = async (program: Program, completion: Completion): Promise<readonly Candidate[]> => {
  const { wanted, typed, given } = completion;
  if (wanted.kind === 'words') return wanted.words;
  if (wanted.kind !== 'agent') return [];
  const socket = given.get('--socket') ?? program.opts().socket;
  const signal = AbortSignal.timeout(deadlineMs);
  const late = new Promise<Candidate[]>((resolve) => {
    signal.addEventListener('abort', () => {
      // A moment for what has been found to be put together.
      setTimeout(resolve, 50, []);
    });
  });
  const asked = withAgent({ opts: () => ({ socket }) }, (agent) =>
    askAgent(agent, { values: wanted.values, typed, given, signal }),
  );
  return Promise.race([asked, late]).catch(() => []);
};
