import { z } from 'zod';
import type { AdminSocket } from './admin-socket.js';

const askEveryMs = 500;
const question = { prefix: 'perf dump', logger: 'objecter' };
const answerSchema = z.object({ objecter: z.object({ op_reply: z.int(), linger_ping: z.int() }) });

/**
 * Finds out whether a running Ceph program gets on though it prints nothing. `rbd export-diff` says nothing at all while it looks at what
 * does not differ, 7 s for each TiB and more, not even with its progress on; nor does `import-diff` while it makes an image smaller
 * (16.2.15). Its admin socket counts the answers of the OSDs. Those that only say that we are still there (it pings what it watches) are
 * taken off: they come when everything else hangs, as on a full pool.
 *
 * A program that cannot be asked shows no more than its bytes do.
 */
export class Pulse {
  readonly #socket: AdminSocket;
  readonly #onAlive: () => void;
  readonly #timer: NodeJS.Timeout;
  #isAsking = false;
  #bytesCame = false;
  #mostAnswers = 0;

  /** @param onAlive called at most twice a second, when bytes came or OSDs have answered */
  constructor(socket: AdminSocket, onAlive: () => void) {
    this.#socket = socket;
    this.#onAlive = onAlive;
    this.#timer = setInterval(this.#look, askEveryMs);
    this.#timer.unref();
  }

  /** Bytes show life as well; then the program is not asked. */
  sawBytes(): void {
    this.#bytesCame = true;
  }

  /** The program is gone. */
  stop(): void {
    clearInterval(this.#timer);
  }

  readonly #look = (): void => {
    if (this.#bytesCame) {
      this.#bytesCame = false;
      this.#onAlive();
    } else if (!this.#isAsking) {
      void this.#ask();
    }
  };

  /** One question at a time: a program that was stopped takes it, and answers when it goes on. */
  async #ask(): Promise<void> {
    this.#isAsking = true;
    const answers = answersIn(await this.#socket.ask(question));
    this.#isAsking = false;
    if (answers <= this.#mostAnswers) return;
    this.#mostAnswers = answers;
    this.#onAlive();
  }
}

/** How many answers came but those to pings; 0 when the text does not say. */
const answersIn = (text: string): number => {
  try {
    const { objecter } = answerSchema.parse(JSON.parse(text));
    return objecter.op_reply - objecter.linger_ping;
  } catch {
    return 0;
  }
};
