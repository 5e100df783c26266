import { createColors } from 'picocolors';

/** Colours for stdout; none unless it is a terminal, and none with NO_COLOR (picocolors' own guess takes CI for a terminal). */
export const colors = createColors(
  process.stdout.isTTY && (process.env['NO_COLOR'] ?? '') === '' && process.env['TERM'] !== 'dumb',
);
