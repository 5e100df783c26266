import type { CephPort } from '@rbdferry/core/ceph/port.js';
import { FerryError } from '@rbdferry/core/errors/ferry-error.js';
import { parseBackupId, splitChainName, type BackupId, type ChainName } from '@rbdferry/core/model/backup-id.js';
import type { BackupUsage, ChainUsage } from '@rbdferry/core/model/chain.js';
import { sameSpec, type ImageSpec } from '@rbdferry/core/model/image-spec.js';
import type { UnreadableChain } from '@rbdferry/core/wire/unreadable-chain.js';
import { requireOnSource } from '../backup/require-on-source.js';
import type { ReceiverClient } from '../receiver-client/receiver-client.js';

/** Whose usage is asked for. */
export type UsageOf =
  | { readonly kind: 'everything' }
  | { readonly kind: 'image'; readonly image: ImageSpec }
  | { readonly kind: 'chain'; readonly chain: ChainName }
  | { readonly kind: 'backup'; readonly id: BackupId };

/** What is told: chains, and those that are there and cannot be read or measured. */
export type ToldUsage =
  | { readonly kind: 'chain'; readonly usage: ChainUsage }
  | { readonly kind: 'unreadable'; readonly chain: UnreadableChain };

export interface UsageDeps {
  readonly ceph: Pick<CephPort, 'info'>;
  readonly receiver: Pick<ReceiverClient, 'usage'>;
  readonly signal: AbortSignal;
}

/**
 * What is asked for takes up in these stores: of a chain that several images share, only what belongs to the one.
 *
 * @throws IMAGE_NOT_FOUND, BACKUP_NOT_FOUND when there is no such thing; the failure of the first chain when none could be read
 */
export async function* usageIn(
  stores: readonly string[],
  of: UsageOf,
  { ceph, receiver, signal }: UsageDeps,
): AsyncGenerator<ToldUsage, void, undefined> {
  const unreadable: UnreadableChain[] = [];
  const onUnreadable = (chain: UnreadableChain) => {
    unreadable.push(chain);
  };
  let found = false;
  for (const store of stores) {
    for await (const whole of receiver.usage(store, placeOf(of), { signal, onUnreadable })) {
      const usage = partOf(whole, of);
      if (usage.backups.length === 0) continue;
      found = true;
      yield { kind: 'chain', usage };
    }
  }
  if (!found && unreadable[0] !== undefined) throw unreadable[0].error;
  for (const chain of unreadable) yield { kind: 'unreadable', chain };
  if (!found) await requireThere(of, { ceph, store: stores.join(', '), signal });
}

const placeOf = (of: UsageOf): { image: string | null; chain: ChainName | null } => {
  switch (of.kind) {
    case 'everything':
      return { image: null, chain: null };
    case 'image':
      return { image: of.image.image, chain: null };
    case 'chain':
      return { image: splitChainName(of.chain)?.image ?? null, chain: of.chain };
    case 'backup': {
      const parts = parseBackupId(of.id);
      const chain = parts.ok ? parts.value.chain : null;
      return { image: chain === null ? null : (splitChainName(chain)?.image ?? null), chain };
    }
  }
};

/** Only what was asked for; a chain of the older tool counts for every image of its name. */
const partOf = (usage: ChainUsage, of: UsageOf): ChainUsage => {
  switch (of.kind) {
    case 'everything':
      return usage;
    case 'chain':
      return usage.chain === of.chain ? usage : { ...usage, backups: [] };
    case 'image':
      return usage.legacy
        ? usage
        : withOnly(usage, ({ source }) => source !== null && sameSpec(source.image, of.image));
    case 'backup':
      return withOnly(usage, ({ id }) => id === of.id);
  }
};

const withOnly = (usage: ChainUsage, isWanted: (backup: BackupUsage) => boolean): ChainUsage => {
  const backups = usage.backups.filter(isWanted);
  return { ...usage, source: backups[0]?.source ?? usage.source, backups };
};

const requireThere = async (
  of: UsageOf,
  where: { readonly ceph: Pick<CephPort, 'info'>; readonly store: string; readonly signal: AbortSignal },
): Promise<void> => {
  switch (of.kind) {
    case 'everything':
      return;
    case 'image':
      await requireOnSource(of.image, where);
      return;
    case 'chain':
      throw new FerryError('BACKUP_NOT_FOUND', `there is no chain ${of.chain} in store ${where.store}`);
    case 'backup':
      throw new FerryError('BACKUP_NOT_FOUND', `there is no backup ${of.id}`);
  }
};
