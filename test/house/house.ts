import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startAgent } from '@rbdferry/agent/daemon.js';
import { runRbdBackup } from '@rbdferry/cli/rbd-backup/run-rbd-backup.js';
import { runRbdferry } from '@rbdferry/cli/run-rbdferry.js';
import { startReceiver } from '@rbdferry/receiver/daemon.js';
import type { CliResult } from '../harness/daemon.js';
import { runInProcess } from './command.js';
import { DaemonInHouse } from './daemon-in-house.js';
import { Site } from './site.js';

export interface HouseOptions {
  readonly sourcePools?: readonly string[];
  /** Pools of the backup cluster; each is a store of its own name. The first is the agent's. */
  readonly stores?: readonly string[];
  /** Keys at the top of the daemons' configuration files. */
  readonly agent?: Readonly<Record<string, unknown>>;
  readonly receiver?: Readonly<Record<string, unknown>>;
}

/**
 * The whole product in one process: agent, receiver and command line, with real sockets, TLS and files, between two clusters in memory. A
 * command takes milliseconds. What it cannot show is Ceph itself, and what is a process's own: signals, locks, exit.
 */
export interface House {
  readonly dir: string;
  readonly source: Site;
  readonly backup: Site;
  readonly agent: DaemonInHouse;
  readonly receiver: DaemonInHouse;
  readonly socket: string;
  /** Both daemons' clock is ahead of the machine's by so much. */
  readonly clock: { aheadMs: number };
  /** Runs `rbdferry` against the agent. */
  cli(...args: string[]): Promise<CliResult>;
  /** {@link cli}, and throws unless it exits 0. Answers stdout. */
  ok(...args: string[]): Promise<string>;
  /** Runs `rbd_backup` against the agent. */
  oldTool(...args: string[]): Promise<CliResult>;
  stop(): Promise<void>;
}

export const startHouse = async (options: HouseOptions = {}): Promise<House> => {
  const { sourcePools = ['rbd'], stores = ['rbd2'] } = options;
  const dir = await mkdtemp(join(tmpdir(), 'rbdferry-house-'));
  const [source, backup] = [new Site(...sourcePools), new Site(...stores)];
  const clock = { aheadMs: 0 };
  const now = () => Date.now() + clock.aheadMs;
  const pki = join(dir, 'pki');
  await mustRun('pki', 'init', '--dir', pki);
  await mustRun('pki', 'issue', 'receiver', '--dir', pki, '--host', 'localhost', '--host', '127.0.0.1');
  await mustRun('pki', 'issue', 'agent1', '--dir', pki);
  const tls = (name: string) => ({ ca: `${pki}/ca.crt`, cert: `${pki}/${name}.crt`, key: `${pki}/${name}.key` });

  const receiver = new DaemonInHouse(startReceiver, {
    path: join(dir, 'receiver.yaml'),
    cluster: backup.cluster,
    now,
    config: {
      listen: '127.0.0.1:0',
      tls: tls('receiver'),
      stores: Object.fromEntries(stores.map((pool) => [pool.replace('/', '-'), { pool }])),
      clients: { agent1: { stores: stores.map((pool) => pool.replace('/', '-')) } },
      ...options.receiver,
    },
  });
  await receiver.start();
  // The same one when it starts again: the agent knows it.
  const port = Number(receiver.record('ready')?.['port']);
  receiver.config['listen'] = `127.0.0.1:${port}`;

  const socket = join(dir, 'agent.sock');
  const agent = new DaemonInHouse(startAgent, {
    path: join(dir, 'agent.yaml'),
    cluster: source.cluster,
    now,
    config: {
      socket,
      state: join(dir, 'state'),
      receivers: {
        dr: { address: `localhost:${port}`, tls: tls('agent1'), store: (stores[0] ?? '').replace('/', '-') },
      },
      ...options.agent,
    },
  });
  await agent.start();
  const cli = (...args: string[]) => runInProcess(() => runRbdferry(['--socket', socket, ...args]));
  return {
    dir,
    source,
    backup,
    agent,
    receiver,
    socket,
    clock,
    cli,
    ok: async (...args) => must(args, await cli(...args)),
    oldTool: (...args) => runInProcess(() => runRbdBackup(['--socket', socket, ...args])),
    async stop() {
      await agent.stop();
      await receiver.stop();
      await rm(dir, { recursive: true, force: true });
    },
  };
};

const mustRun = async (...args: string[]): Promise<string> => must(args, await runInProcess(() => runRbdferry(args)));

const must = (args: readonly string[], { exitCode, stdout, stderr }: CliResult): string => {
  if (exitCode === 0) return stdout;
  throw new Error(`rbdferry ${args.join(' ')} exited with ${exitCode}: ${stderr}`);
};
