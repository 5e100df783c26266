import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { runCli, startDaemon, type Daemon } from './daemon.js';
import type { Pair } from './pair.js';

/** Another agent of a pair, on the same clusters, with a configuration of its own. */
export interface SecondAgent {
  daemon: Daemon;
  /** Runs `rbdferry` against it, and throws unless it exits 0. Answers stdout. */
  ok(...args: string[]): Promise<string>;
  restart(): Promise<void>;
}

export const startSecondAgent = async (
  pair: Pair,
  options: {
    readonly name: string;
    readonly change?: (yaml: string) => string;
    /** Lines for its receiver. */
    readonly receiver?: string;
    /** Lines at top level. */
    readonly extra?: string;
  },
): Promise<SecondAgent> => {
  const { name, change = (yaml) => yaml, receiver = '', extra = '' } = options;
  const config = join(pair.dir, `${name}.yaml`);
  const socket = join(pair.dir, `${name}.sock`);
  const yaml = (await readFile(pair.agentConfig, 'utf8'))
    .replace(/^socket:.*$/m, `socket: ${socket}`)
    .replace(/^state:.*$/m, `state: ${join(pair.dir, `${name}-state`)}`)
    .replace(/^ {4}store:.*$/m, (store) => `${store}\n${receiver}`);
  await writeFile(config, change(yaml) + extra);
  const agent: SecondAgent = {
    daemon: await startDaemon('rbdferry-agent', config),
    async ok(...args) {
      const result = await runCli(['--socket', socket, ...args]);
      if (result.exitCode === 0) return result.stdout;
      throw new Error(`rbdferry ${args.join(' ')} exited with ${result.exitCode}: ${result.stderr}`);
    },
    async restart() {
      await agent.daemon.stop();
      agent.daemon = await startDaemon('rbdferry-agent', config);
    },
  };
  return agent;
};
