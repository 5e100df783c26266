import { mkdtempSync, rmSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { z } from 'zod';

const askEveryMs = 500;
/** A socket's path may have 107 bytes. */
const longestPath = 107;
/** Null-terminated; the answer is its length in four bytes, and JSON. */
const question = `${JSON.stringify({ prefix: 'perf dump', logger: 'objecter' })}\0`;
const answerSchema = z.object({ objecter: z.object({ op_reply: z.int(), linger_ping: z.int() }) });

/**
 * Finds out whether a running Ceph program gets on though it prints nothing. `rbd export-diff` says nothing at all while it looks at what
 * does not differ, 7 s for each TiB and more, not even with its progress on; nor does `import-diff` while it makes an image smaller
 * (16.2.15). Its admin socket counts the answers of the OSDs. Those that only say that we are still there (it pings what it watches) are
 * taken off: they come when everything else hangs, as on a full pool.
 *
 * A program that cannot be asked, say because it is a wrapper around one in a container, shows no more than its bytes do.
 */
export class Pulse {
  /** For the end of the program's command line. */
  readonly args: readonly string[];
  readonly #dir: string | null;
  readonly #onAlive: () => void;
  readonly #timer: NodeJS.Timeout;
  #asking: Socket | null = null;
  #bytesCame = false;
  #mostAnswers = 0;

  /** @param onAlive called at most twice a second, when bytes came or OSDs have answered */
  constructor(onAlive: () => void) {
    this.#onAlive = onAlive;
    this.#dir = makeDir();
    this.args = this.#dir === null ? [] : [`--admin-socket=${socketIn(this.#dir)}`];
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
    this.#asking?.destroy();
    if (this.#dir !== null) rmSync(this.#dir, { recursive: true, force: true });
  }

  readonly #look = (): void => {
    if (this.#bytesCame) {
      this.#bytesCame = false;
      this.#onAlive();
    } else if (this.#dir !== null && this.#asking === null) {
      this.#ask(socketIn(this.#dir));
    }
  };

  /** One question at a time: a program that was stopped takes it, and answers when it goes on. */
  #ask(socket: string): void {
    const asking = connect(socket);
    const chunks: Buffer[] = [];
    this.#asking = asking;
    asking.on('data', (chunk: Buffer) => chunks.push(chunk));
    // It may not listen yet, or not any more.
    asking.on('error', () => {});
    asking.on('close', () => {
      this.#asking = null;
      this.#heard(answersIn(Buffer.concat(chunks).subarray(4)));
    });
    asking.write(question);
  }

  #heard(answers: number): void {
    if (answers <= this.#mostAnswers) return;
    this.#mostAnswers = answers;
    this.#onAlive();
  }
}

const socketIn = (dir: string): string => path.join(dir, 's');

/** Null where none can be made. */
const makeDir = (): string | null => {
  const prefix = path.join(tmpdir(), 'rbdferry-');
  if (Buffer.byteLength(socketIn(`${prefix}XXXXXX`)) > longestPath) return null;
  try {
    return mkdtempSync(prefix);
  } catch {
    return null;
  }
};

/** How many answers came but those to pings; 0 when the text does not say. */
const answersIn = (text: Buffer): number => {
  try {
    const { objecter } = answerSchema.parse(JSON.parse(text.toString('utf8')));
    return objecter.op_reply - objecter.linger_ping;
  } catch {
    return 0;
  }
};
