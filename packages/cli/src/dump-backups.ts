import type { AgentClient, Place } from './client.js';
import type { ChainView } from './view/chain.js';
import type { DumpedChain } from './view/dump.js';
import type { UnreadableView } from './view/usage.js';

/**
 * The chains of an image, or of a store, with what their backups take up.
 *
 * @param onUnreadable told of each chain that could be listed, and not measured
 */
export const dumpOf = async (
  agent: Pick<AgentClient, 'listBackups' | 'usage'>,
  request: Place & { readonly image?: string | undefined },
  onUnreadable: (chain: UnreadableView) => void,
): Promise<DumpedChain[]> => {
  const chains: ChainView[] = [];
  for await (const chain of agent.listBackups(request)) chains.push(chain);
  const added = new Map<string, bigint>();
  if (chains.some(({ backups }) => backups.length > 0)) {
    for await (const { backups } of agent.usage({ ...request, onUnreadable })) {
      for (const { id, addedBytes } of backups) added.set(id, addedBytes);
    }
  }
  return chains.map((chain) => ({
    ...chain,
    usedBytes: chain.backups.reduce((sum, { id }) => sum + (added.get(id) ?? 0n), 0n),
    backups: chain.backups.map((backup) => ({ ...backup, addedBytes: added.get(backup.id) ?? null })),
  }));
};
