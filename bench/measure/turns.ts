import { machineLoad, type MachineLoad } from './machine.js';

/** What one run of one contender took. */
export interface Sample {
  readonly seconds: number;
  /** Other figures in seconds: phases of a job, single commands. */
  readonly parts?: Readonly<Record<string, number>>;
  /** CPU seconds by process. */
  readonly cpu?: Readonly<Record<string, number>>;
  /** Highest resident memory by process, in bytes. */
  readonly peakBytes?: Readonly<Record<string, number>>;
  /** Bytes that went through, where that is known. */
  readonly bytes?: number;
}

export interface Contender {
  readonly name: string;
  run(round: number): Promise<Sample>;
}

/** Samples by contender's name, one for each round. */
export interface Turns {
  readonly samples: ReadonlyMap<string, readonly Sample[]>;
  /** What else the machine did just before each round. */
  readonly loads: readonly MachineLoad[];
}

export interface TurnOptions {
  readonly rounds: number;
  readonly log: (line: string) => void;
  /** Before each round: changes that all contenders then carry over. */
  readonly prepare?: (round: number) => Promise<void>;
}

/**
 * Lets each contender run once a round, so that what disturbs the machine disturbs all of them. Every round begins with
 * another one, since the first of a round finds other caches. One round before the first is not counted.
 */
export const takeTurns = async (contenders: readonly Contender[], options: TurnOptions): Promise<Turns> => {
  const samples = new Map<string, Sample[]>(contenders.map(({ name }) => [name, []]));
  const loads: MachineLoad[] = [];
  for (let round = 0; round <= options.rounds; round += 1) {
    await options.prepare?.(round);
    if (round > 0) loads.push(await machineLoad());
    for (const contender of rotated(contenders, round)) {
      const sample = await contender.run(round);
      options.log(`  ${round === 0 ? 'warm-up' : `round ${round}`}  ${contender.name}  ${describe(sample)}`);
      if (round > 0) samples.get(contender.name)?.push(sample);
    }
  }
  return { samples, loads };
};

const rotated = <T>(items: readonly T[], by: number): T[] => {
  const at = by % items.length;
  return [...items.slice(at), ...items.slice(0, at)];
};

const describe = ({ seconds, parts = {}, cpu = {} }: Sample): string =>
  [
    `${seconds.toFixed(3)} s`,
    ...Object.entries(parts).map(([name, value]) => `${name} ${value.toFixed(3)}`),
    ...Object.entries(cpu).map(([name, value]) => `cpu(${name}) ${value.toFixed(2)}`),
  ].join('  ');

/** @throws when the contender did not run */
export const samplesOf = ({ samples }: Turns, name: string): readonly Sample[] => {
  const found = samples.get(name);
  if (found === undefined || found.length === 0) throw new Error(`there are no samples of "${name}"`);
  return found;
};
