import { ifExists } from '@rbdferry/core/ceph/if-exists.js';
import type { CephPort } from '@rbdferry/core/ceph/port.js';
import { orThrow } from '@rbdferry/core/errors/parsed.js';
import type { BackupId } from '@rbdferry/core/model/backup-id.js';
import type { Backup } from '@rbdferry/core/model/chain.js';
import { parseImageSpec } from '@rbdferry/core/model/image-spec.js';
import type { LooseEndKind } from '../jobs/loose-end-kind.js';

/** A snapshot for a backup that may or may not have been committed. */
export interface SnapshotEnd {
  readonly kind: 'snapshot';
  readonly image: string;
  /** Another image of that name is none of our business. */
  readonly imageId: string;
  readonly snap: string;
  readonly receiver: string;
  readonly backupId: BackupId;
  /**
   * When Ceph was asked to make it, in milliseconds since 1970, while it has not been seen: a request whose asker gave up is carried out
   * later by whoever has the image open. Left out once it was seen, and in records of earlier releases.
   */
  readonly unseenSinceMs?: number;
}

/**
 * How long a snapshot that was never seen is looked for, in milliseconds. A guest that hangs, or a client that is stopped, may carry the request
 * out when it goes on.
 */
const watchMs = 24 * 3_600_000;

interface Deps {
  readonly ceph: Pick<CephPort, 'removeSnapshot'>;
  /** The backup at a receiver; null when the receiver says that there is none. @throws when the receiver cannot say */
  readonly findBackup: (receiver: string, id: BackupId) => Promise<Backup | null>;
  /** Milliseconds since 1970. */
  readonly now: () => number;
}

/** The snapshot goes unless its backup was committed. */
export const snapshotEnds = ({ ceph, findBackup, now }: Deps): LooseEndKind<SnapshotEnd> => ({
  async settle(end, accept) {
    const backup = await findBackup(end.receiver, end.backupId);
    if (backup !== null && accept(backup)) return { kind: 'completed', backup };
    const { pool, namespace } = orThrow(parseImageSpec(end.image), 'INVALID_IMAGE_SPEC');
    const removed = await ifExists(ceph.removeSnapshot({ pool, namespace, imageId: end.imageId }, end.snap));
    const mayCome = end.unseenSinceMs !== undefined && now() - end.unseenSinceMs < watchMs;
    return removed !== true && mayCome ? { kind: 'waiting' } : { kind: 'undone' };
  },
  waitingSinceMs: ({ unseenSinceMs }) => unseenSinceMs,
});
