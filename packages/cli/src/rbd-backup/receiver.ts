import { isIP } from 'node:net';
import { FerryError } from '@rbdferry/core/errors/ferry-error.js';
import type { AgentClient } from '../client.js';

interface KnownReceiver {
  readonly name: string;
  /** HOST:PORT */
  readonly address: string;
}

/**
 * The receiver that `-d` means: one of that name, else the one whose address has that host, so that scripts that pass a host
 * name go on working. `RBDFERRY_RECEIVER` overrides it.
 *
 * @returns undefined for the agent's default
 * @throws RECEIVER_NOT_FOUND when none or several are meant
 */
export const receiverFor = async (
  agent: Pick<AgentClient, 'agentInfo'>,
  destination: string | undefined,
  env: Readonly<Record<string, string | undefined>> = process.env,
): Promise<string | undefined> => {
  const { RBDFERRY_RECEIVER: override = '' } = env;
  if (override !== '') return override;
  if (destination === undefined) return undefined;
  const { receivers } = await agent.agentInfo();
  const meant = receivers.some(({ name }) => name === destination)
    ? receivers.filter(({ name }) => name === destination)
    : receivers.filter(({ address }) => isHost(destination, hostOf(address)));
  if (meant.length === 1) return meant[0]?.name;
  throw unclear(destination, { meant, receivers });
};

const unclear = (
  destination: string,
  { meant, receivers }: { meant: readonly KnownReceiver[]; receivers: readonly KnownReceiver[] },
): FerryError => {
  const quoted = JSON.stringify(destination);
  const message =
    meant.length === 0
      ? `the agent has no receiver ${quoted}, and none at such a host`
      : `${quoted} is the host of several receivers of the agent`;
  const known = (meant.length === 0 ? receivers : meant).map(({ name, address }) => `${name} (${address})`).join(', ');
  return new FerryError('RECEIVER_NOT_FOUND', message, {
    hint: `name one of these with -d, or set RBDFERRY_RECEIVER for scripts that pass something else: ${known}`,
  });
};

const hostOf = (address: string): string => address.replace(/:\d+$/, '').replace(/^\[(.*)\]$/, '$1');

/** Whether both name the same host; a short name stands for the full one. */
const isHost = (destination: string, host: string): boolean => {
  const [a, b] = [destination.toLowerCase(), host.toLowerCase()];
  if (a === b) return true;
  if (isIP(a) !== 0 || isIP(b) !== 0 || (a.includes('.') && b.includes('.'))) return false;
  return a.split('.')[0] === b.split('.')[0];
};
