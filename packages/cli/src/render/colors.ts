import { isatty } from 'node:tty';
import { createColors } from 'picocolors';

/** Colours for stdout; none unless it is a terminal, and none with NO_COLOR (picocolors' own guess takes CI for a terminal). */
export const colors = createColors(
  isatty(1) && (process.env['NO_COLOR'] ?? '') === '' && process.env['TERM'] !== 'dumb',
);
