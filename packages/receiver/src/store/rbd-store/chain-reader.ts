import type { CephPort, Snapshot } from '@rbdferry/core/ceph/port.js';
import {
  formatBackupId,
  isSnapName,
  snapTime,
  splitChainName,
  timestampToMs,
  type BackupId,
  type ChainName,
  type SnapName,
} from '@rbdferry/core/model/backup-id.js';
import type { Backup, Chain } from '@rbdferry/core/model/chain.js';
import type { PoolSpec } from '@rbdferry/core/model/image-spec.js';
import { backupKey, decodeFacts, decodeState, stateKey, type HeadState } from './backup-meta.js';

/** A chain as its image shows it, with what a transfer needs besides. */
export interface ChainView {
  readonly chain: Omit<Chain, 'active'>;
  /** Null in a chain of the older tool. */
  readonly state: HeadState | null;
  /** Keys of the image-meta. */
  readonly keys: readonly string[];
}

/** Reads one chain. @throws IMAGE_NOT_FOUND when it is gone */
export const readChain = async (
  ceph: CephPort,
  where: { readonly store: string; readonly pool: PoolSpec },
  name: ChainName,
  options: { signal?: AbortSignal | undefined; snapshots?: readonly Snapshot[] },
): Promise<ChainView> => {
  const image = { ...where.pool, image: name };
  const [snapshots, metadata] = await Promise.all([
    options.snapshots ?? ceph.snapshots(image, options),
    ceph.metadata(image, options),
  ]);
  return viewOf(where.store, name, snapshots, metadata);
};

const viewOf = (
  store: string,
  name: ChainName,
  snapshots: readonly Snapshot[],
  metadata: ReadonlyMap<string, string>,
): ChainView => {
  const idOf = (snap: SnapName): BackupId => formatBackupId({ store, chain: name, snap });
  const stateText = metadata.get(stateKey);
  const state = stateText === undefined ? null : decodeState(stateText);
  const backups = [...snapshots]
    .sort((a, b) => a.id - b.id)
    .flatMap((snapshot) => {
      if (!isSnapName(snapshot.name)) return [];
      if (state === null) return [legacyBackup(snapshot, snapshot.name, idOf)];
      const facts = metadata.get(backupKey(snapshot.name));
      const backup = facts === undefined ? undefined : decodeFacts(facts, snapshot.name, idOf);
      return backup === undefined ? [] : [backup];
    });
  const kinds =
    state === null ? backups.map((each, index): Backup => (index === 0 ? { ...each, kind: 'full' } : each)) : backups;
  return {
    chain: { store, name, backups: kinds, legacy: state === null, partial: state?.kind === 'receiving' },
    state,
    keys: [...metadata.keys()],
  };
};

/** The older tool wrote names only; the rest is what RBD itself tells. */
const legacyBackup = (snapshot: Snapshot, snap: SnapName, idOf: (snap: SnapName) => BackupId): Backup => {
  const time = snapTime(snap);
  return {
    id: idOf(snap),
    snap,
    kind: 'incremental',
    source: null,
    sizeBytes: snapshot.sizeBytes,
    streamBytes: 0n,
    dataBytes: 0n,
    streamSha256: new Uint8Array(),
    committedAtMs: time === undefined ? 0 : timestampToMs(time),
    baseId: null,
    client: null,
  };
};

/** Names of the chains of one image (or of all) among the names of a pool. */
export const chainNames = (names: readonly string[], image: string | null): ChainName[] =>
  names
    .flatMap((name) => splitChainName(name) ?? [])
    .filter((parts) => image === null || parts.image === image)
    .map((parts) => parts.chain)
    .sort();
