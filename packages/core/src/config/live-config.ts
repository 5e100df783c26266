import type { z } from 'zod';
import { toFerryError } from '../errors/ferry-error.js';
import type { Logger } from '../log/logger.js';
import { loadConfig } from './load.js';

export interface LiveConfigOptions<T> {
  readonly path: string;
  readonly schema: z.ZodType<T>;
  /** Top-level keys that only a restart can change. */
  readonly fixed: readonly (keyof T & string)[];
}

/**
 * A daemon's configuration, which can be read anew while it runs. Whoever asks for `current` gets what holds now; what has begun
 * keeps what it began with.
 */
export class LiveConfig<T extends object> {
  readonly #options: LiveConfigOptions<T>;
  #current: T;

  private constructor(options: LiveConfigOptions<T>, current: T) {
    this.#options = options;
    this.#current = current;
  }

  /** @throws CONFIG_MISSING, CONFIG_INVALID */
  static async load<T extends object>(options: LiveConfigOptions<T>): Promise<LiveConfig<T>> {
    return new LiveConfig(options, await loadConfig(options.path, options.schema));
  }

  get current(): T {
    return this.#current;
  }

  /**
   * Reads the file again. A bad one, or one with which `apply` fails, leaves everything as it was. Never throws: how it went is logged.
   *
   * @param apply makes it hold where asking for `current` is not enough; it must change nothing when it throws
   */
  async reload(log: Logger, apply: (next: T) => Promise<void>): Promise<void> {
    const { path, schema, fixed } = this.#options;
    try {
      const read = await loadConfig(path, schema);
      const needsRestart = fixed.filter((key) => !isSame(read[key], this.#current[key]));
      const kept = Object.fromEntries(fixed.map((key) => [key, this.#current[key]]));
      const next: T = { ...read, ...kept };
      await apply(next);
      this.#current = next;
      log.info({ config: path }, 'configuration read anew');
      if (needsRestart.length > 0) {
        log.warn({ config: path, keys: needsRestart }, `needs a restart: ${needsRestart.join(', ')}`);
      }
    } catch (thrown) {
      const { code, message, hint } = toFerryError(thrown);
      log.error(
        { config: path, code, error: message, hint },
        'the configuration cannot be used; the old one stays in force',
      );
    }
  }
}

const isSame = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b);
