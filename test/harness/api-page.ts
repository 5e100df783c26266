import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

/** A call that docs/api.md shows: `$ ferry -d '{...}' SOCKET SERVICE/METHOD`, with what it prints below. */
export interface Example {
  readonly service: string;
  readonly method: string;
  /** JSON of the request; `{}` when the page gives none. */
  readonly request: string;
  /** What the page shows as the answer; empty when it shows none. */
  readonly output: string;
}

/** A question to the reflection service: `$ ferry SOCKET list` or `$ ferry SOCKET describe SYMBOL`. */
export interface Question {
  readonly verb: string;
  readonly symbol: string;
  readonly output: string;
}

export interface ApiPage {
  readonly text: string;
  readonly examples: readonly Example[];
  readonly questions: readonly Question[];
  /** The JavaScript program at its end. */
  readonly program: string;
}

const path = fileURLToPath(new URL('../../docs/api.md', import.meta.url));

/** @throws on a `ferry` line that is neither a call nor a question: every one of them must be tried */
export const readApiPage = async (): Promise<ApiPage> => {
  const text = await readFile(path, 'utf8');
  const examples: Example[] = [];
  const questions: Question[] = [];
  for (const { words, output } of text
    .split('```')
    .flatMap((block, index) => (index % 2 === 1 ? commandsOf(block) : []))) {
    const [socket, what, symbol = ''] = words.slice(words[0] === '-d' ? 2 : 0);
    if (socket === undefined || what === undefined) throw new Error(`no command that is known: ${words.join(' ')}`);
    const [service = '', method] = what.split('/');
    if (method === undefined) questions.push({ verb: what, symbol, output });
    else examples.push({ service, method, request: (words[0] === '-d' ? words[1] : undefined) ?? '{}', output });
  }
  return { text, examples, questions, program: /```js\n(.*?)```/s.exec(text)?.[1] ?? '' };
};

/** The `ferry` commands of a block, each with the lines up to the next one. */
const commandsOf = (block: string): { words: string[]; output: string }[] =>
  block
    .replaceAll(/\\\n\s*/g, '')
    .split(/^\$ /m)
    .filter((part) => part.startsWith('ferry '))
    .map((part) => {
      const end = part.indexOf('\n');
      return { words: wordsOf(part.slice('ferry '.length, end)), output: part.slice(end + 1).trim() };
    });

/** Words as a shell sees them, of which these lines use single quotes only. */
const wordsOf = (line: string): string[] =>
  [...line.matchAll(/'([^']*)'|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain ?? '');
