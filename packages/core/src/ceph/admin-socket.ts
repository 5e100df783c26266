import { mkdtempSync, rmSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';

/** A socket's path may have 107 bytes. */
const longestPath = 107;

/**
 * The admin socket of a Ceph program that is about to be started, in a folder of its own. A program that cannot be asked, say because it
 * is a wrapper around one in a container, answers nothing.
 */
export class AdminSocket {
  /** For the end of the program's command line. */
  readonly args: readonly string[];
  /** A folder that program and daemon share until {@link remove}; null where none can be made: then nothing is answered. */
  readonly dir: string | null;
  readonly #asking = new Set<Socket>();

  constructor() {
    this.dir = makeDir();
    this.args = this.dir === null ? [] : [`--admin-socket=${socketIn(this.dir)}`];
  }

  /** Asks a running program. Answers its words, and nothing ('') when it does not listen; waits as long as a program that hangs. */
  ask(question: object): Promise<string> {
    const { dir } = this;
    if (dir === null) return Promise.resolve('');
    return new Promise((resolve) => {
      const asking = connect(socketIn(dir));
      const chunks: Buffer[] = [];
      this.#asking.add(asking);
      asking.on('data', (chunk: Buffer) => chunks.push(chunk));
      // It may not listen yet, or not any more.
      asking.on('error', () => {});
      asking.on('close', () => {
        this.#asking.delete(asking);
        // Before the words comes their length, in four bytes.
        resolve(Buffer.concat(chunks).subarray(4).toString('utf8'));
      });
      asking.write(`${JSON.stringify(question)}\0`);
    });
  }

  /** The program is gone: questions under way get no answer, and nothing is left. */
  remove(): void {
    for (const asking of this.#asking) asking.destroy();
    if (this.dir !== null) rmSync(this.dir, { recursive: true, force: true });
  }
}

const socketIn = (dir: string): string => path.join(dir, 's');

const makeDir = (): string | null => {
  const prefix = path.join(tmpdir(), 'rbdferry-');
  if (Buffer.byteLength(socketIn(`${prefix}XXXXXX`)) > longestPath) return null;
  try {
    return mkdtempSync(prefix);
  } catch {
    return null;
  }
};
