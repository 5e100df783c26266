import { once } from 'node:events';
import type { JobError } from './view/job.js';

/** What stdout and stderr get. Results go to stdout, everything else to stderr. */

/** Writes a line of the result. Waits for room, so that a slow reader costs no memory. */
export const printLine = async (text: string): Promise<void> => {
  await print(`${text}\n`);
};

export const print = async (text: string): Promise<void> => {
  if (!process.stdout.write(text)) await once(process.stdout, 'drain');
};

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

/**
 * A reader that goes away (`| head`) ends the command quietly. On stderr it means only that nobody reads it.
 */
export const leaveQuietlyOnBrokenPipe = (): void => {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(process.exitCode ?? 0);
    throw error;
  });
  process.stderr.on('error', () => {});
};
