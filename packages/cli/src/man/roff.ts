/** Text as man pages write it. */

/** Escapes what roff would take for itself: backslashes, hyphens, and a dot or a quote at the start of a line. */
export const roff = (text: string): string =>
  text
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replace(/^([.'])/gm, '\\&$1');

export const bold = (text: string): string => `\\fB${roff(text)}\\fR`;
export const italic = (text: string): string => `\\fI${roff(text)}\\fR`;

export const section = (title: string): string => `.SH ${quoted(title)}`;
export const subsection = (title: string): string => `.SS ${quoted(title)}`;
export const paragraph = (text: string): string => `.PP\n${text}`;

/** A term and what there is to say of it. */
export const definition = (term: string, text: string): string => `.TP\n${term}\n${text}`;

/** Lines that stay as they are. */
export const verbatim = (lines: readonly string[]): string =>
  ['.PP', '.RS 4', '.nf', ...lines.map(roff), '.fi', '.RE'].join('\n');

/** @param number of the manual's section */
export const titleLine = (name: string, number: number, release: string): string =>
  `.TH ${quoted(name.toUpperCase())} ${number} "" ${quoted(release)} "rbdferry manual"`;

const quoted = (text: string): string => `"${roff(text).replaceAll('"', '\\(dq')}"`;
