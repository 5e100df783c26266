import { createCeph, type CephAndAdapter, type CephOptions } from '../ceph/create-ceph.js';
import { createLogger, type Logger } from '../log/logger.js';

/** What a daemon takes from outside of itself beside files and sockets: tests give it another cluster, log and clock. */
export interface Outside {
  readonly createCeph: (options: CephOptions) => CephAndAdapter | Promise<CephAndAdapter>;
  /** @param name the daemon's @param level the least level that is written */
  readonly createLogger: (name: string, level: string) => Logger;
  /** Milliseconds since 1970. */
  readonly now: () => number;
}

export const theRealOutside: Outside = { createCeph, createLogger, now: Date.now };
