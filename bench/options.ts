import { parseArgs } from 'node:util';
import { caseNames, isCaseName, type CaseName } from './cases/index.js';
import { patternNames, type PatternName } from './rig/patterns.js';

const adapters = ['auto', 'cli', 'librbd'];

const usage = `usage: node bench/dist/main.js [--only CASE,...] [--patterns PATTERN,...] [--rounds N] [--quick] [--adapter ADAPTER] [--profile]
  cases     ${caseNames.join(' ')}
  patterns  ${patternNames.join(' ')} (of the cases "transfer" and "distance")
  --quick   smaller images and two rounds
  --adapter which way the daemons speak to Ceph: ${adapters.join(', ')} (default: what they choose)
  --profile writes CPU profiles of agent and receiver during a full backup, and says where the time went`;

export interface Options {
  readonly only: readonly CaseName[];
  readonly patterns: readonly PatternName[];
  readonly rounds: number;
  readonly quick: boolean;
  readonly adapter: string | undefined;
  readonly profile: boolean;
}

/** @throws with the usage */
export const parseOptions = (args: readonly string[]): Options => {
  const { values } = parseArgs({
    args: [...args],
    options: {
      only: { type: 'string' },
      patterns: { type: 'string' },
      rounds: { type: 'string' },
      quick: { type: 'boolean', default: false },
      adapter: { type: 'string' },
      profile: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  const rounds = Number(values.rounds ?? (values.quick ? 2 : 5));
  const only = values.only?.split(',') ?? caseNames;
  const patterns = values.patterns?.split(',') ?? patternNames;
  if (values.help || !Number.isInteger(rounds) || rounds < 1) throw new Error(usage);
  if (!only.every(isCaseName) || !patterns.every(isPatternName)) throw new Error(usage);
  const { adapter } = values;
  if (adapter !== undefined && !adapters.includes(adapter)) throw new Error(usage);
  return { only, patterns, adapter, rounds, quick: values.quick, profile: values.profile };
};

const isPatternName = (name: string): name is PatternName => patternNames.some((known) => known === name);
