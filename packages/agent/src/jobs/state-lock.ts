import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from '@photostructure/sqlite';
import { FerryError } from '@rbdferry/core/errors/ferry-error.js';

/**
 * One agent for each state directory: two would both run what is queued, and each would clean up what the other one works on.
 *
 * The lock is SQLite's own on an empty `lock.sqlite` (an fcntl lock), so the kernel gives it back however the process ends, its
 * children do not inherit it, and no file of a dead agent has to be removed. It is not that of `jobs.sqlite`: who looks into the
 * job store with `sqlite3` must be able to.
 */
export class StateLock {
  // The database closes when it is garbage-collected, so it must stay referenced.
  readonly #db: InstanceType<typeof DatabaseSync>;

  /** Makes the directory if it is missing. @throws STATE_LOCKED when another agent has it; CONFIG_INVALID */
  constructor(directory: string) {
    let db: InstanceType<typeof DatabaseSync> | undefined;
    try {
      mkdirSync(directory, { recursive: true, mode: 0o750 });
      db = new DatabaseSync(join(directory, 'lock.sqlite'));
      db.exec('PRAGMA busy_timeout = 0; BEGIN EXCLUSIVE;');
    } catch (cause) {
      db?.close();
      throw refusal(directory, cause);
    }
    this.#db = db;
  }

  release(): void {
    this.#db.close();
  }
}

const refusal = (directory: string, cause: unknown): FerryError => {
  const why = cause instanceof Error ? cause.message : String(cause);
  if (/database is locked/.test(why)) {
    return new FerryError('STATE_LOCKED', `another agent works with the state directory ${JSON.stringify(directory)}`, {
      cause,
    });
  }
  return new FerryError('CONFIG_INVALID', `cannot use the state directory ${JSON.stringify(directory)}: ${why}`, {
    hint: 'it must be a directory that the agent may write to: check its path, owner and mode',
    cause,
  });
};
