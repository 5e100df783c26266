import { pino, type DestinationStream, type Logger } from 'pino';

export type { Logger } from 'pino';

/**
 * JSON lines on stdout, for journald: `time` in ISO 8601, `level` as a word, the daemon's `name`.
 * Fields use the field's own terms: image, store, backup, job, transfer, code.
 */
export const createLogger = (name: string, level: string, to: DestinationStream = pino.destination(1)): Logger =>
  pino(
    {
      name,
      level,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    to,
  );
