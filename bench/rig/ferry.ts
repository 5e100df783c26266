import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { runCli, startDaemon, type Daemon } from '@rbdferry/test/dist/harness/daemon.js';
import { Control } from './control.js';
import { backupPool, type Site } from './site.js';

export interface FerryOptions {
  /** An existing directory that the daemons' files go to. */
  readonly dir: string;
  readonly source: Site;
  readonly backup: Site;
  /** Which way the daemons speak to Ceph; their own choice when left out. */
  readonly adapter?: string | undefined;
  /** The address that the receiver listens on; 127.0.0.1 when left out. */
  readonly host?: string;
  /** Top-level YAML lines for the daemons' configuration. */
  readonly agentExtra?: string;
  readonly receiverExtra?: string;
  /** Environment of the daemons: a {@link Shim}'s, say. */
  readonly agentEnv?: Readonly<Record<string, string>>;
  readonly receiverEnv?: Readonly<Record<string, string>>;
}

/** Agent and receiver as two processes, as a user runs them, and the way to give them jobs. */
export interface Ferry {
  readonly agent: Daemon;
  readonly receiver: Daemon;
  readonly control: Control;
  /** Of the agent. */
  readonly socket: string;
  /** Where their certificates are. */
  readonly pki: string;
  stop(): Promise<void>;
}

/** Certificates of a CA of its own below `dir`: receiver.crt for localhost, agent1.crt. */
export const makePki = async (dir: string, host = '127.0.0.1'): Promise<string> => {
  const pki = join(dir, 'pki');
  await pkiCommand('init', '--dir', pki);
  await pkiCommand('issue', 'receiver', '--dir', pki, '--host', 'localhost', '--host', host);
  await pkiCommand('issue', 'agent1', '--dir', pki);
  return pki;
};

const pkiCommand = async (...args: string[]): Promise<void> => {
  const { exitCode, stderr } = await runCli(['pki', ...args]);
  if (exitCode !== 0) throw new Error(`rbdferry pki ${args.join(' ')} exited with ${exitCode}: ${stderr}`);
};

let count = 0;

export const startFerry = async (options: FerryOptions): Promise<Ferry> => {
  const dir = join(options.dir, `ferry-${(count += 1)}`);
  await mkdir(dir);
  const host = options.host ?? '127.0.0.1';
  const pki = await makePki(dir, host);
  const receiverConfig = join(dir, 'receiver.yaml');
  await writeFile(
    receiverConfig,
    receiverYaml(pki, cephYaml(options.backup, 'receiver', options.adapter), host) + (options.receiverExtra ?? ''),
  );
  const receiver = await startDaemon('rbdferry-receiver', receiverConfig, {
    env: { ...options.receiverEnv },
  });
  const socket = join(dir, 'agent.sock');
  const agentConfig = join(dir, 'agent.yaml');
  const where = { socket, state: join(dir, 'state'), address: `${host}:${receiver.port}` };
  await writeFile(
    agentConfig,
    agentYaml(pki, cephYaml(options.source, 'agent', options.adapter), where) + (options.agentExtra ?? ''),
  );
  const agent = await startDaemon('rbdferry-agent', agentConfig, {
    env: { ...options.agentEnv },
  });
  const control = new Control(socket);
  return {
    agent,
    receiver,
    control,
    socket,
    pki,
    async stop() {
      control.close();
      await Promise.all([agent.stop(), receiver.stop()]);
    },
  };
};

const tlsYaml = (pki: string, name: string): string =>
  `tls: { ca: ${pki}/ca.crt, cert: ${pki}/${name}.crt, key: ${pki}/${name}.key }`;

const cephYaml = ({ confPath, users }: Site, user: 'agent' | 'receiver', adapter: string | undefined): string => {
  const chosen = adapter === undefined ? '' : `, adapter: ${adapter}`;
  return `ceph: { conf: ${confPath}, user: ${users[user].name}, keyring: ${users[user].keyringPath}${chosen} }`;
};

const receiverYaml = (pki: string, ceph: string, host: string): string => `
listen: ${host}:0
${tlsYaml(pki, 'receiver')}
${ceph}
stores:
  main: { pool: ${backupPool} }
clients:
  agent1: { stores: [main] }
`;

const agentYaml = (pki: string, ceph: string, where: { socket: string; state: string; address: string }): string => `
socket: ${where.socket}
state: ${where.state}
${ceph}
receivers:
  dr:
    address: ${where.address}
    ${tlsYaml(pki, 'agent1')}
    store: main
`;
