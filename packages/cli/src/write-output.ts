import { fstatSync, writeSync } from 'node:fs';
import { FerryError } from '@rbdferry/core/errors/ferry-error.js';

const fds = { stdout: 1, stderr: 2 } as const;

type StreamName = keyof typeof fds;

/** Writes all of a text. @throws OUTPUT_FAILED */
export const writeTo = (name: StreamName, text: string): Promise<void> => writeBytes(name, text);

/** Writes all of some bytes; they are the caller's again then. @throws OUTPUT_FAILED */
export const writeBytes = async (name: StreamName, content: string | Uint8Array): Promise<void> => {
  try {
    if (isFile(name)) writeWhole(fds[name], Buffer.from(content));
    else await writeToStream(process[name], content);
  } catch (thrown) {
    throw outputFailure(name, thrown);
  }
};

/** Node's stream takes a file that took only the first bytes, because the disk was full then, for one that took all. */
const writeWhole = (fd: number, bytes: Buffer): void => {
  for (let done = 0; done < bytes.length;) done += writeSync(fd, bytes, done);
};

/** Files and devices, `/dev/full` among them, but no terminals. */
const isFile = (name: StreamName): boolean => {
  if (process[name].isTTY) return false;
  const stat = fstatSync(fds[name]);
  return stat.isFile() || stat.isCharacterDevice();
};

const writeToStream = (stream: NodeJS.WriteStream, content: string | Uint8Array): Promise<void> =>
  new Promise((resolve, reject) => {
    stream.write(content, (error) => {
      if (error == null) resolve();
      else reject(error);
    });
  });

const outputFailure = (name: StreamName, cause: unknown): FerryError => {
  const reason = cause instanceof Error ? cause.message.replace(/, write$/, '') : String(cause);
  return new FerryError('OUTPUT_FAILED', `could not write to ${name}: ${reason}`, { cause });
};

/** Whether it only means that nobody reads any more (`| head`). */
export const isReaderGone = (thrown: unknown): boolean => isOutputFailure(thrown) && codeOf(thrown.cause) === 'EPIPE';

const isOutputFailure = (thrown: unknown): thrown is FerryError =>
  thrown instanceof FerryError && thrown.code === 'OUTPUT_FAILED';

const codeOf = (error: unknown): unknown => (error instanceof Error && 'code' in error ? error.code : undefined);

/**
 * Prints what came of something that is done and stays done, also when it cannot be printed.
 *
 * @param done what is done, for the hint
 * @throws OUTPUT_FAILED
 */
export const printDone = async (done: string, printing: Promise<void>): Promise<void> => {
  try {
    await printing;
  } catch (thrown) {
    if (!isOutputFailure(thrown)) throw thrown;
    throw new FerryError('OUTPUT_FAILED', thrown.message, { hint: done, cause: thrown.cause });
  }
};

/**
 * Without a listener, a write that fails ends the process with a trace. Who writes is told by {@link writeTo}, and notes may get lost.
 *
 * @returns what waits for help that was asked for: commander writes it, and does not look what becomes of it. It throws OUTPUT_FAILED.
 */
export const expectOutputErrors = (): (() => Promise<void>) => {
  let helpError: Error | undefined;
  process.stdout.on('error', (error) => {
    helpError ??= error;
  });
  process.stderr.on('error', () => {});
  return async () => {
    await writeToStream(process.stdout, '').catch(() => {});
    await new Promise((resolve) => setImmediate(resolve));
    if (helpError !== undefined) throw outputFailure('stdout', helpError);
  };
};
