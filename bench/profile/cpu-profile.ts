import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';

interface ProfileNode {
  readonly id: number;
  readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number };
}

/** The parts of V8's .cpuprofile that are needed for self time. */
interface CpuProfile {
  readonly nodes: readonly ProfileNode[];
  readonly samples: readonly number[];
  /** Microseconds before each sample. */
  readonly timeDeltas: readonly number[];
}

export interface SelfTime {
  readonly where: string;
  readonly seconds: number;
  /** Of the time that was not idle, 0 to 1. */
  readonly share: number;
}

const idle = '(idle)';

/** Self time by function, longest first, and without the time in which the thread waited. */
export const selfTimes = async (path: string): Promise<SelfTime[]> => {
  const profile = JSON.parse(await readFile(path, 'utf8')) as CpuProfile;
  const names = new Map(profile.nodes.map((node) => [node.id, nameOf(node)]));
  const micros = new Map<string, number>();
  for (const [index, id] of profile.samples.entries()) {
    const name = names.get(id) ?? 'unknown';
    micros.set(name, (micros.get(name) ?? 0) + (profile.timeDeltas[index] ?? 0));
  }
  micros.delete(idle);
  const all = [...micros.values()].reduce((sum, value) => sum + value, 0);
  return [...micros]
    .map(([where, value]) => ({ where, seconds: value / 1e6, share: value / all }))
    .sort((a, b) => b.seconds - a.seconds);
};

const nameOf = ({ callFrame: { functionName, url, lineNumber } }: ProfileNode): string => {
  const name = functionName === '' ? '(anonymous)' : functionName;
  return url === '' ? name : `${name} ${basename(url)}:${lineNumber + 1}`;
};

/** The first `count` as lines of text. */
export const formatSelfTimes = (times: readonly SelfTime[], count: number): string[] =>
  times
    .slice(0, count)
    .map(
      ({ where, seconds, share }) =>
        `${seconds.toFixed(3).padStart(8)} s ${(share * 100).toFixed(1).padStart(5)} %  ${where}`,
    );
