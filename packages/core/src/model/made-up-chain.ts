import { chainNameOf, formatBackupId, formatTimestamp, snapNameOf } from './backup-id.js';
import type { Backup, Chain } from './chain.js';
import type { Hold } from './hold.js';

/** Chains for tests of what is decided about them. */

export interface MadeUpBackup {
  /** The image it is of, in pool rbd; null in a backup of the older tool. */
  readonly image: string | null;
  readonly committedAtMs: number;
  /** Hours since 1970 in its name; its place in the chain when left out. */
  readonly nameHours?: number;
  readonly hold?: Hold | null;
}

const hourInMicroseconds = 3_600_000_000n;

/** @param image in the chain's name */
export const chainOfBackups = (image: string, backups: readonly MadeUpBackup[], over: Partial<Chain> = {}): Chain => {
  const name = chainNameOf(image, formatTimestamp(0n));
  const made = backups.map(({ image, committedAtMs, nameHours, hold = null }, index): Backup => {
    const snap = snapNameOf(formatTimestamp(BigInt(nameHours ?? index) * hourInMicroseconds));
    return {
      id: formatBackupId({ store: 's', chain: name, snap }),
      snap,
      kind: index === 0 ? 'full' : 'incremental',
      source: image === null ? null : sourceOf(image, index),
      sizeBytes: 0n,
      streamBytes: 0n,
      dataBytes: 0n,
      streamGmac: new Uint8Array(),
      committedAtMs,
      baseId: null,
      client: 'c',
      hold,
    };
  });
  return { store: 's', name, backups: made, active: false, legacy: false, partial: false, ...over };
};

const sourceOf = (image: string, snapId: number): NonNullable<Backup['source']> => ({
  identity: { fsid: 'f', image: { pool: 'rbd', namespace: '', image }, imageId: `id of ${image}` },
  snapId,
  layout: {
    sizeBytes: 1n,
    objectSizeBytes: 4096,
    stripeUnitBytes: 4096,
    stripeCount: 1,
    features: [],
    dataPool: null,
  },
  metadata: {},
  binaryMetadata: [],
  metadataOmitted: false,
  parent: null,
});
