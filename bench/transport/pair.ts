import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { watchProcesses } from '../measure/processes.js';
import type { Sample } from '../measure/turns.js';
import { startListener, type Listener } from '../links/relay.js';
import { agentAnswer, type AgentSettings, type End, type ReceiverSettings } from './settings.js';

const program = (name: 'agent' | 'receiver'): string => fileURLToPath(new URL(`./${name}.js`, import.meta.url));

const files = (pki: string, name: string) => ({
  ca: `${pki}/ca.crt`,
  cert: `${pki}/${name}.crt`,
  key: `${pki}/${name}.key`,
});

interface Launcher {
  readonly env: Readonly<Record<string, string>>;
  readonly nodeFlags: readonly string[];
}

/** How a daemon's launcher sets glibc's allocator and V8's: it is part of what is measured. */
const launcherOf = async (daemon: 'agent' | 'receiver'): Promise<Launcher> => {
  const launcher = new URL(`../../../packages/${daemon}/bin/rbdferry-${daemon}`, import.meta.url);
  const text = await readFile(launcher, 'utf8');
  const settings = [...text.matchAll(/(MALLOC_\w+):=(\d+)/g)];
  return {
    env: Object.fromEntries(settings.map(([, name = '', value = '']) => [name, value])),
    nodeFlags: text.match(/(?<=^exec node .*)--\S+/gm) ?? [],
  };
};

export const startReceiver = async (
  pki: string,
  options: { readonly windowBytes?: number; readonly into?: End } = {},
): Promise<Listener> => {
  const settings: ReceiverSettings = { tls: files(pki, 'receiver'), ...options };
  const { env, nodeFlags } = await launcherOf('receiver');
  return startListener(process.execPath, [...nodeFlags, program('receiver'), JSON.stringify(settings)], env);
};

/** Sends so many bytes (or the diff of `from`, which are so many) to `port`, behind which that receiver is, from a process of its own. */
export const send = async (
  pki: string,
  to: {
    readonly port: number;
    readonly receiver: Listener;
    readonly bytes: number;
    readonly from?: AgentSettings['from'];
  },
): Promise<Sample> => {
  const settings: AgentSettings = { tls: files(pki, 'agent1'), port: to.port, bytes: to.bytes, from: to.from };
  const use = await watchProcesses({ receiver: to.receiver.pid });
  const { env, nodeFlags } = await launcherOf('agent');
  const args = [...nodeFlags, program('agent'), JSON.stringify(settings)];
  const { stdout } = await execa(process.execPath, args, { env, timeout: 300_000 });
  const { seconds, cpuSeconds, peakBytes } = agentAnswer.parse(JSON.parse(stdout));
  const used = await use();
  return {
    seconds,
    bytes: to.bytes,
    cpu: { agent: cpuSeconds, ...used.cpu },
    peakBytes: { agent: peakBytes, ...used.peakBytes },
  };
};
