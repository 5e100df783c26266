import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { watchProcesses } from '../measure/processes.js';
import type { Sample } from '../measure/turns.js';
import { startListener, type Listener } from '../links/relay.js';
import { agentAnswer, type AgentSettings, type ReceiverSettings } from './settings.js';

const program = (name: 'agent' | 'receiver'): string => fileURLToPath(new URL(`./${name}.js`, import.meta.url));

const files = (pki: string, name: string) => ({
  ca: `${pki}/ca.crt`,
  cert: `${pki}/${name}.crt`,
  key: `${pki}/${name}.key`,
});

export const startReceiver = (pki: string, windowBytes?: number): Promise<Listener> => {
  const settings: ReceiverSettings = { tls: files(pki, 'receiver'), windowBytes };
  return startListener(process.execPath, [program('receiver'), JSON.stringify(settings)]);
};

/** Sends so many bytes to `port`, behind which that receiver is, from a process of its own. */
export const send = async (
  pki: string,
  to: { readonly port: number; readonly receiver: Listener; readonly bytes: number },
): Promise<Sample> => {
  const settings: AgentSettings = { tls: files(pki, 'agent1'), port: to.port, bytes: to.bytes };
  const use = await watchProcesses({ receiver: to.receiver.pid });
  const { stdout } = await execa(process.execPath, [program('agent'), JSON.stringify(settings)], { timeout: 300_000 });
  const { seconds, cpuSeconds, peakBytes } = agentAnswer.parse(JSON.parse(stdout));
  const used = await use();
  return {
    seconds,
    bytes: to.bytes,
    cpu: { agent: cpuSeconds, ...used.cpu },
    peakBytes: { agent: peakBytes, ...used.peakBytes },
  };
};
