import type { CephPort } from '@rbdferry/core/ceph/port.js';
import { collectRecords } from '@rbdferry/core/diff/collect-records.js';
import { createLogger } from '@rbdferry/core/log/logger.js';
import { parseBackupId, type BackupId, type BackupIdParts, type SnapName } from '@rbdferry/core/model/backup-id.js';
import type { Backup } from '@rbdferry/core/model/chain.js';
import { StreamDigest } from '@rbdferry/core/transfer/stream-digest.js';
import { RbdLife } from '@rbdferry/core/transfer/life.js';
import { GuardedStore } from '@rbdferry/receiver/store/guarded-store.js';
import type { OpenedPush, Store } from '@rbdferry/receiver/store/port.js';
import { RbdDriver } from '@rbdferry/receiver/store/rbd-store/rbd-driver.js';
import { fakeCeph } from '../fake-ceph/fake-ceph.js';
import { FakeCluster } from '../fake-ceph/fake-cluster.js';
import { diffOf, factsOf, type Source } from './source.js';

/** The pool of the stores that tests make. */
export const storePool = { pool: 'backup', namespace: '' };

export const rbdStoreOn = (
  ceph: CephPort,
  features = ['layering', 'exclusive-lock'],
  now = () => Date.UTC(2026, 10, 27, 13),
  trashExpiryMs: number | null = null,
): Store =>
  new GuardedStore({
    name: 'main',
    log: createLogger('test', 'silent'),
    now,
    driver: (host) =>
      new RbdDriver({ pool: storePool, ceph, features, dataPool: null, stallMs: () => 60_000, trashExpiryMs }, host),
  });

export const partsOf = (id: BackupId): BackupIdParts => {
  const parsed = parseBackupId(id);
  if (!parsed.ok) throw new Error(parsed.problem);
  return parsed.value;
};

export interface ToPush {
  readonly source: Source;
  readonly snap: SnapName;
  /** The backup that an increment starts from, and null for a full. */
  readonly base: BackupIdParts | null;
}

/** Makes a backup of a snapshot, as the service does when an agent sends it. */
export const pushTo = async (store: Store, { source, snap, base }: ToPush): Promise<Backup> => {
  const chunks = await diffOf(source, { snap, fromSnap: base?.snap ?? null });
  const { dataBytes } = collectRecords(chunks).summary;
  const digest = new StreamDigest();
  for (const chunk of chunks) digest.update(chunk);
  const streamBytes = chunks.reduce((sum, { length }) => sum + BigInt(length), 0n);
  const push = await store.open({ source: await factsOf(source, snap), snap, base, client: 'agent1' }, {});
  await send(push, chunks);
  return push.commit({ streamBytes, dataBytes, streamGmac: digest.digest() });
};

/** All but the end record. What was written is used again at once, for something else. */
const send = async (push: OpenedPush, chunks: readonly Uint8Array[]): Promise<void> => {
  push.begin(new RbdLife('backup'));
  try {
    for (const [index, chunk] of chunks.entries()) {
      const isLast = index === chunks.length - 1;
      const part = isLast ? chunk.subarray(0, -1) : chunk;
      if (part.length > 0) await push.write(part);
      chunk.fill(0x5a);
    }
  } catch (thrown) {
    await push.discard();
    throw thrown;
  }
};

/** Every backup that the store lists. */
export const listed = async (store: Store): Promise<Backup[]> => {
  const backups: Backup[] = [];
  for await (const chain of store.chains(null, {})) backups.push(...chain.backups);
  return backups;
};

/** SHA-256 of what comes back when the backup is restored into a new image. */
export const sha256OfRestored = async (store: Store, id: BackupIdParts): Promise<string> => {
  const pull = await store.read(id, {});
  try {
    const cluster = new FakeCluster('rbd');
    const ceph = fakeCeph(cluster);
    const image = { pool: 'rbd', namespace: '', image: 'restored' };
    const layout = { objectSizeBytes: 16_384, stripeUnitBytes: 16_384, stripeCount: 1, features: [], dataPool: null };
    await ceph.create(image, { sizeBytes: pull.backup.sizeBytes, ...layout });
    const sink = ceph.importDiff(image);
    for await (const { bytes } of pull.stream) await sink.write(bytes);
    await sink.finish();
    return cluster.sha256(image, id.snap);
  } finally {
    pull.close();
  }
};
