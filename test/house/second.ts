import { join } from 'node:path';
import { startAgent } from '@rbdferry/agent/daemon.js';
import { runRbdferry } from '@rbdferry/cli/run-rbdferry.js';
import { startReceiver } from '@rbdferry/receiver/daemon.js';
import type { CliResult } from '../harness/daemon.js';
import { runInProcess } from './command.js';
import { DaemonInHouse } from './daemon-in-house.js';
import type { House } from './house.js';

type Config = Record<string, unknown>;

/** Another agent of a house, with a socket and a state of its own. */
export interface SecondAgent {
  readonly daemon: DaemonInHouse;
  /** Runs `rbdferry` against it. */
  cli(...args: string[]): Promise<CliResult>;
  /** {@link cli}, and throws unless it exits 0. Answers stdout. */
  ok(...args: string[]): Promise<string>;
}

/** An agent on the house's source cluster, not started yet. @param config what is not as the house's own agent has it */
export const secondAgent = (house: House, name: string, config: Config = {}): SecondAgent => {
  const socket = join(house.dir, `${name}.sock`);
  const own = { socket, state: join(house.dir, `${name}-state`) };
  const daemon = new DaemonInHouse(startAgent, {
    path: join(house.dir, `${name}.yaml`),
    cluster: house.source.cluster,
    now: () => Date.now() + house.clock.aheadMs,
    config: { ...house.agent.config, ...own, ...config },
  });
  const cli = (...args: string[]) => runInProcess(() => runRbdferry(['--socket', socket, ...args]));
  return {
    daemon,
    cli,
    async ok(...args) {
      const { exitCode, stdout, stderr } = await cli(...args);
      if (exitCode === 0) return stdout;
      throw new Error(`rbdferry ${args.join(' ')} exited with ${exitCode}: ${stderr}`);
    },
  };
};

/** A receiver on the house's backup cluster, not started yet, at a port of its own. @param config what is not as the house's own has it */
export const secondReceiver = (house: House, name: string, config: Config = {}): DaemonInHouse =>
  new DaemonInHouse(startReceiver, {
    path: join(house.dir, `${name}.yaml`),
    cluster: house.backup.cluster,
    now: () => Date.now() + house.clock.aheadMs,
    config: { ...house.receiver.config, listen: '127.0.0.1:0', ...config },
  });

/** The house's `receivers`, the one there is changed. */
export const receiversWith = (house: House, change: Config): { receivers: Config } => {
  const { dr } = house.agent.config['receivers'] as { dr: Config };
  return { receivers: { dr: { ...dr, ...change } } };
};
