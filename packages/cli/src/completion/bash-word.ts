import type { TypedLine } from './split-line.js';

/** What bash would take for something else in a bare word. */
const special = /[\s"'\\$`!&;|<>(){}[\]*?~#^]/g;

/** A word, or the end of one, as it is typed in bash behind what is typed already: readline takes an answer as it is. */
export const bashWord = (text: string, quote: TypedLine['quote']): string => {
  if (quote === "'") return text.replaceAll("'", String.raw`'\''`);
  if (quote === '"') return text.replaceAll(/["\\$`]/g, String.raw`\$&`);
  return text.replaceAll(special, String.raw`\$&`);
};

/**
 * How much of a word bash takes for words of their own and leaves as it is: up to the last of its break characters that is not escaped. An
 * `@` is one, but it belongs to what is replaced (tried with bash 5.2): bash completes names of hosts behind it.
 */
export const brokenAt = ({ current, escaped, quote }: TypedLine, breaks: string): number => {
  if (quote !== '') return 0;
  const within = new Set([...breaks].filter((char) => !/[\s"'\\]/.test(char)));
  const last = Array.from(escaped, (_, at) => !escaped[at] && within.has(current.charAt(at))).lastIndexOf(true);
  return last < 0 ? 0 : last + (current.charAt(last) === '@' ? 0 : 1);
};
