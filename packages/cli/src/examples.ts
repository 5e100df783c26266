/** What stands below the options in a help. @param lines without the command's own name */
export const examples = (...lines: string[]): string =>
  ['', lines.length === 1 ? 'Example:' : 'Examples:', ...lines.map((line) => `  $ rbdferry ${line}`)].join('\n');
