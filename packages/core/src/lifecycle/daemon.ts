import { toFerryError } from '../errors/ferry-error.js';
import type { Logger } from '../log/logger.js';

/** A running daemon. */
export interface Running {
  /** Reads the configuration and the certificates anew. Never throws. */
  reload(): Promise<void>;
  /** Ends what is under way within the grace time and lets go of everything. */
  stop(): Promise<void>;
}

/**
 * Runs a daemon in the foreground until SIGTERM or SIGINT; a second signal ends it at once. SIGHUP makes it read its configuration anew.
 * A start or stop that fails prints code, message and hint on stderr and exits with the code's exit status.
 */
export const runDaemon = async (start: () => Promise<{ running: Running; log: Logger }>): Promise<void> => {
  const reloads = new Reloads();
  try {
    const { running, log } = await start();
    reloads.begin(running);
    await stopOnSignal(running, log);
  } catch (thrown) {
    const error = toFerryError(thrown);
    // Whatever a failed start or stop has left open must not keep the process alive.
    process.stderr.write(`${error.code}: ${error.message}\nhint: ${error.hint}\n`, () => {
      process.exit(error.entry.exit);
    });
  }
};

/** One reload after the other. A SIGHUP that comes before the daemon runs must not kill it, and is done when it does. */
class Reloads {
  #running: Running | undefined;
  #isWanted = false;
  #work: Promise<void> = Promise.resolve();

  constructor() {
    process.on('SIGHUP', () => {
      this.#isWanted = true;
      this.#reload();
    });
  }

  begin(running: Running): void {
    this.#running = running;
    this.#reload();
  }

  #reload(): void {
    this.#work = this.#work.then(async () => {
      if (this.#running === undefined || !this.#isWanted) return;
      this.#isWanted = false;
      await this.#running.reload();
    });
  }
}

const stopOnSignal = async (running: Running, log: Logger): Promise<void> => {
  const signal = await firstSignal(() => {
    log.warn('a second signal: leaving at once');
    process.exit(1);
  });
  log.info({ signal }, 'stopping');
  await running.stop();
  log.info('stopped');
  // Idle channels and child pipes must not keep a stopped daemon alive.
  process.exit(0);
};

/**
 * The listeners stay: execa ends the process when it finds that a signal has no other listener than its own, and `once`
 * would be gone by then.
 */
const firstSignal = (onSecond: () => void): Promise<string> =>
  new Promise((resolve) => {
    let seen = false;
    for (const name of ['SIGTERM', 'SIGINT'] as const) {
      process.on(name, () => {
        if (seen) onSecond();
        seen = true;
        resolve(name);
      });
    }
  });
