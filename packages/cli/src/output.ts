import type { JobError } from './view/job.js';
import { writeTo } from './write-output.js';

/** What stdout and stderr get. Results go to stdout, everything else to stderr. */

/** Writes a line of the result. @throws OUTPUT_FAILED */
export const printLine = (text: string): Promise<void> => print(`${text}\n`);

/** Writes a part of the result. Waits for a slow reader. @throws OUTPUT_FAILED */
export const print = (text: string): Promise<void> => writeTo('stdout', text);

/** Writes a line of a result that belongs on stderr. @throws OUTPUT_FAILED */
export const printLineOnStderr = (text: string): Promise<void> => writeTo('stderr', `${visible(text)}\n`);

/** Something to know that is no result. */
export const note = (text: string): void => {
  process.stderr.write(`${visible(text)}\n`);
};

export const printWarnings = (warnings: readonly string[]): void => {
  for (const warning of warnings) note(`warning: ${warning}`);
};

/** The form of every error: code, fact, remedy. */
export const printFailure = ({ code, message, hint }: JobError): void => {
  note(`rbdferry: ${code}: ${message}`);
  if (hint !== '') note(`hint: ${hint}`);
};

/** Text from elsewhere with its control characters made visible, but for line ends and tabs: a terminal would obey them. */
export const visible = (text: string): string =>
  text.replace(/(?![\t\n])\p{Cc}/gu, (control) => {
    const code = control.codePointAt(0) ?? 0;
    return `\\u${code.toString(16).padStart(4, '0')}`;
  });
