import { readFile, writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';

/** Linux' clock ticks a second, as every distribution has it. */
const ticksPerSecond = 100;

/** CPU seconds of the text of /proc/PID/stat: user and system time of the process itself, without its children. */
export const cpuSecondsIn = (stat: string): number => {
  // The name in brackets may contain blanks; user and system time are the 12th and 13th field after it.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond;
};

const cpuSeconds = async (pid: number): Promise<number> => cpuSecondsIn(await readFile(`/proc/${pid}/stat`, 'utf8'));

/** CPU seconds of a process and of all its children, those that have ended and those that run, and of theirs. */
export const treeCpuSeconds = async (pid: number): Promise<number> => {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => null);
  if (stat === null) return 0;
  const children = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8').catch(() => '');
  const running = await Promise.all(
    children
      .trim()
      .split(' ')
      .filter(Boolean)
      .map((child) => treeCpuSeconds(Number(child))),
  );
  return running.reduce((sum, seconds) => sum + seconds, cpuSecondsIn(stat) + endedChildrenSecondsIn(stat));
};

/** The 14th and 15th field after the name: of children that were waited for. */
const endedChildrenSecondsIn = (stat: string): number => {
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[13]) + Number(fields[14])) / ticksPerSecond;
};

const peakBytes = async (pid: number): Promise<number> => {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1] ?? Number.NaN) * 1024;
};

/** Lets the peak of resident memory begin anew. */
const resetPeak = (pid: number): Promise<void> => writeFile(`/proc/${pid}/clear_refs`, '5').catch(() => {});

export interface ProcessUse {
  readonly cpu: Readonly<Record<string, number>>;
  readonly peakBytes: Readonly<Record<string, number>>;
}

/** Begins to watch processes; the function it answers tells what they used since. */
export const watchProcesses = async (pids: Readonly<Record<string, number>>): Promise<() => Promise<ProcessUse>> => {
  const forEach = async <T>(look: (pid: number) => Promise<T>): Promise<Record<string, T>> =>
    Object.fromEntries(await Promise.all(Object.entries(pids).map(async ([name, pid]) => [name, await look(pid)])));
  await forEach(resetPeak);
  const before = await forEach(cpuSeconds);
  return async () => {
    const [after, peaks] = await Promise.all([forEach(cpuSeconds), forEach(peakBytes)]);
    const cpu = Object.fromEntries(Object.entries(after).map(([name, end]) => [name, end - (before[name] ?? 0)]));
    return { cpu, peakBytes: peaks };
  };
};

const hasChildren = async (pid: number): Promise<boolean> => {
  const children = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8').catch(() => '');
  return children.trim() !== '';
};

/** Waits (at most 30 s) until none of the processes has had a child for a moment: work after the end of a job. */
export const untilChildless = async (pids: readonly number[]): Promise<void> => {
  const deadline = Date.now() + 30_000;
  for (let calm = 0; calm < 3 && Date.now() < deadline;) {
    const busy = (await Promise.all(pids.map(hasChildren))).some(Boolean);
    calm = busy ? 0 : calm + 1;
    await sleep(50);
  }
};
