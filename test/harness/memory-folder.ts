import { mkdirSync, readdirSync, rmSync, statfsSync } from 'node:fs';
import { join } from 'node:path';

const memory = '/dev/shm';
const prefix = 'rbdferry-tests-';
const ownFolder = join(memory, `${prefix}${process.pid}`);
/** Some hundred megabytes of small files at most. */
const neededBytes = 1024 ** 3;

/** Where tests keep what goes with their processes: in memory, where thousands of `fsync` cost nothing. Undefined where there is no room. */
export const memoryFolder = (): string | undefined => {
  try {
    const { bavail, bsize } = statfsSync(memory);
    return bavail * bsize < neededBytes ? undefined : ownFolder;
  } catch {
    return undefined;
  }
};

/** Whether a process is there. */
const lives = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    return true;
  } catch (thrown) {
    return (thrown as NodeJS.ErrnoException).code === 'EPERM';
  }
};

const removeLeft = (isLeft: (pid: number) => boolean): void => {
  let names: string[] = [];
  try {
    names = readdirSync(memory);
  } catch {
    // There is none.
  }
  for (const name of names) {
    const pid = Number(name.startsWith(prefix) ? name.slice(prefix.length) : NaN);
    if (Number.isInteger(pid) && isLeft(pid)) rmSync(join(memory, name), { recursive: true, force: true });
  }
};

/** Vitest's global set-up: what runs left that were killed goes before, our own after. */
export default function setup(): () => void {
  removeLeft((pid) => !lives(pid));
  if (memoryFolder() !== undefined) mkdirSync(ownFolder, { recursive: true, mode: 0o700 });
  return () => {
    removeLeft((pid) => pid === process.pid);
  };
}
