import { withAgent } from '../agent.js';
import { print } from '../output.js';
import type { Program } from '../verb.js';
import { askAgent } from './agent-values.js';
import type { Shell } from './scripts.js';
import { bashWord, brokenAt } from './bash-word.js';
import { splitLine, type TypedLine } from './split-line.js';
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
  const line = typedOf(request);
  const completion = completionOf(program, line.before, line.current);
  const { wanted, lead, typed } = completion;
  if (wanted.kind === 'files') {
    await print(':files\n');
    return;
  }
  const candidates = (await candidatesOf(program, completion)).filter(({ value }) => value.startsWith(typed));
  const taken = brokenAt(line, request.breaks ?? '');
  const lines = candidates.map(({ value, description }) => {
    const word = `${lead}${value}`.slice(taken);
    if (request.shell === 'bash') return bashWord(word, line.quote);
    return description === '' ? word : `${word}\t${description.replaceAll(/\s+/g, ' ')}`;
  });
  if (lines.length > 0) await print(`${lines.join('\n')}\n`);
  // A call to an agent that hangs would keep the shell waiting.
  process.exit(0);
};

const typedOf = ({ words, line }: CompleteRequest): TypedLine => {
  if (line === undefined) return { before: words.slice(0, -1), current: words.at(-1) ?? '', quote: '', escaped: [] };
  const typed = splitLine(line);
  return { ...typed, before: typed.before.slice(1) };
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
