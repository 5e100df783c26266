/** A command line up to the cursor, as a shell would take it apart. */
export interface TypedLine {
  /** Whole words before the one at the cursor; the first is the command. */
  readonly before: readonly string[];
  /** The word at the cursor, as far as it is typed; without its quotes. */
  readonly current: string;
  /** The quote that is open at the cursor, or none. */
  readonly quote: '' | "'" | '"';
  /** Which characters of `current` stand for themselves whatever they are: behind a backslash or in quotes. */
  readonly escaped: readonly boolean[];
}

const isBlank = (char: string): boolean => char === ' ' || char === '\t' || char === '\n';

/** Takes words apart by blanks, quotes and backslashes. Nothing is expanded. */
export const splitLine = (line: string): TypedLine => {
  const words: string[] = [];
  let word: string | undefined;
  let quote: TypedLine['quote'] = '';
  let escaped: boolean[] = [];
  for (let at = 0; at < line.length; at += 1) {
    const char = line.charAt(at);
    if (quote === "'" ? char === "'" : quote === '"' && char === '"') {
      quote = '';
    } else if (char === '\\' && quote !== "'") {
      at += 1;
      word = (word ?? '') + line.charAt(at);
      escaped.push(true);
    } else if (quote === '' && (char === "'" || char === '"')) {
      quote = char;
      word ??= '';
    } else if (quote === '' && isBlank(char)) {
      if (word !== undefined) words.push(word);
      word = undefined;
      escaped = [];
    } else {
      word = (word ?? '') + char;
      escaped.push(quote !== '');
    }
  }
  return { before: words, current: word ?? '', quote, escaped };
};
