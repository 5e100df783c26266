import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { AdapterChoice } from '@rbdferry/core/ceph/adapter.js';
import { startCluster, type Cluster } from '../ceph/cluster.js';
import { runCli, startDaemon, type CliResult, type Daemon } from './daemon.js';

/** Two clusters, a receiver on one, an agent on the other, with certificates of their own CA: the whole product. */
export interface Pair {
  readonly dir: string;
  readonly source: Cluster;
  readonly backup: Cluster;
  readonly socket: string;
  readonly pki: string;
  receiver: Daemon;
  agent: Daemon;
  readonly agentConfig: string;
  readonly receiverConfig: string;
  /** Runs `rbdferry` against the agent. */
  cli(...args: string[]): Promise<CliResult>;
  /** {@link cli}, and throws unless it exits 0. Answers stdout. */
  ok(...args: string[]): Promise<string>;
  /** @param adapter another one than the pair was made with, until it is started again */
  startReceiver(adapter?: AdapterChoice): Promise<Daemon>;
  startAgent(): Promise<Daemon>;
  stop(): Promise<void>;
}

export interface PairOptions {
  readonly name: string;
  readonly sourcePools?: readonly string[];
  /** Pools of the backup cluster; each is a store of its own name. */
  readonly stores?: readonly string[];
  /** Lines for the daemons' configuration files, as YAML at top level. */
  readonly agentExtra?: string;
  readonly receiverExtra?: string;
  /** The receiver's deadline of quick `rbd` commands, as a duration such as `10s`; 60 s when left out. */
  readonly receiverCommandTimeout?: string;
  readonly agentCommandTimeout?: string;
  /** How both daemons speak to their clusters. */
  readonly adapter?: AdapterChoice;
  /** Added to the environment of both daemons. */
  readonly env?: Readonly<Record<string, string>>;
  readonly log?: (line: string) => void;
  readonly osds?: number;
  readonly memstoreBytes?: number;
}

export const startPair = async (options: PairOptions): Promise<Pair> => {
  const { name, sourcePools = ['rbd'], stores = ['rbd2'], env = {}, log = () => {}, adapter = 'auto' } = options;
  const dir = await mkdtemp(join(tmpdir(), `rbdferry-${name}-`));
  const size = options.memstoreBytes === undefined ? {} : { memstoreBytes: options.memstoreBytes };
  const [source, backup] = await Promise.all([
    startCluster({ name: `${name}-source`, pools: sourcePools, log, osds: options.osds ?? 1, ...size }),
    startCluster({ name: `${name}-backup`, pools: stores, log, ...size }),
  ]);
  const pki = join(dir, 'pki');
  await mustRun('pki', 'init', '--dir', pki);
  await mustRun('pki', 'issue', 'receiver', '--dir', pki, '--host', 'localhost', '--host', '127.0.0.1');
  await mustRun('pki', 'issue', 'agent1', '--dir', pki);

  const receiverConfig = join(dir, 'receiver.yaml');
  const agentConfig = join(dir, 'agent.yaml');
  const socket = join(dir, 'agent.sock');
  const writeReceiverConfig = (port: number, adapter: AdapterChoice) =>
    writeFile(
      receiverConfig,
      receiverYaml({
        port,
        pki,
        cluster: backup,
        stores,
        commandTimeout: options.receiverCommandTimeout ?? '60s',
        adapter,
      }) + (options.receiverExtra ?? ''),
    );

  const startReceiver = async (port: number, chosen = adapter): Promise<Daemon> => {
    await writeReceiverConfig(port, chosen);
    return startDaemon('rbdferry-receiver', receiverConfig, { env });
  };
  const receiver = await startReceiver(0);
  const { port } = receiver;
  await writeFile(
    agentConfig,
    agentYaml({
      port,
      pki,
      cluster: source,
      store: stores[0] ?? '',
      socket,
      state: join(dir, 'state'),
      commandTimeout: options.agentCommandTimeout ?? '60s',
      adapter,
    }) + (options.agentExtra ?? ''),
  );
  const pair: Pair = {
    dir,
    source,
    backup,
    socket,
    pki,
    receiver,
    agent: await startDaemon('rbdferry-agent', agentConfig, { env }),
    agentConfig,
    receiverConfig,
    cli: (...args) => runCli(['--socket', socket, ...args]),
    async ok(...args) {
      const result = await pair.cli(...args);
      if (result.exitCode === 0) return result.stdout;
      throw new Error(`rbdferry ${args.join(' ')} exited with ${result.exitCode}: ${result.stderr}`);
    },
    async startReceiver(chosen) {
      pair.receiver = await startReceiver(port, chosen);
      return pair.receiver;
    },
    async startAgent() {
      pair.agent = await startDaemon('rbdferry-agent', agentConfig, { env });
      return pair.agent;
    },
    async stop() {
      await Promise.all([pair.agent.stop(), pair.receiver.stop()]);
      await Promise.all([source.stop(), backup.stop()]);
      await rm(dir, { recursive: true, force: true });
    },
  };
  return pair;
};

const mustRun = async (...args: string[]): Promise<void> => {
  const { exitCode, stderr } = await runCli(args);
  if (exitCode !== 0) throw new Error(`rbdferry ${args.join(' ')} exited with ${exitCode}: ${stderr}`);
};

const tlsYaml = (pki: string, name: string, indent = ''): string =>
  `${indent}tls: { ca: ${pki}/ca.crt, cert: ${pki}/${name}.crt, key: ${pki}/${name}.key }`;

const receiverYaml = (of: {
  port: number;
  pki: string;
  cluster: Cluster;
  stores: readonly string[];
  commandTimeout: string;
  adapter: AdapterChoice;
}): string => `
listen: 127.0.0.1:${of.port}
${tlsYaml(of.pki, 'receiver')}
ceph: { conf: ${of.cluster.confPath}, user: receiver, keyring: ${of.cluster.users.receiver.keyringPath}, command_timeout: ${of.commandTimeout}, adapter: ${of.adapter} }
stores:
${of.stores.map((store) => `  ${store.replace('/', '-')}: { pool: ${store} }`).join('\n')}
clients:
  agent1: { stores: [${of.stores.map((store) => store.replace('/', '-')).join(', ')}] }
`;

const agentYaml = (of: {
  port: number;
  pki: string;
  cluster: Cluster;
  store: string;
  socket: string;
  state: string;
  commandTimeout: string;
  adapter: AdapterChoice;
}): string => `
socket: ${of.socket}
state: ${of.state}
ceph: { conf: ${of.cluster.confPath}, user: agent, keyring: ${of.cluster.users.agent.keyringPath}, command_timeout: ${of.commandTimeout}, adapter: ${of.adapter} }
receivers:
  dr:
    address: localhost:${of.port}
${tlsYaml(of.pki, 'agent1', '    ')}
    store: ${of.store.replace('/', '-')}
`;
