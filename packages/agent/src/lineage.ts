import type { CephPort, ImageInfo, Snapshot } from '@rbdferry/core/ceph/port.js';
import { parseBackupId, type BackupId } from '@rbdferry/core/model/backup-id.js';
import type { Lineage } from '@rbdferry/core/model/chain.js';
import { textOf, type MetadataEntry } from '@rbdferry/core/model/image-meta.js';
import type { ImageSpec } from '@rbdferry/core/model/image-spec.js';
import { z } from 'zod';

/** image-meta of rbdferry on source images; never part of a backup. */
const ownPrefix = 'rbdferry.';
const lineageKey = `${ownPrefix}lineage`;
/** The user's word on whether backups of pools and of everything take the image: `on` or `off`. A backup holds it like any key of the user's. */
export const selectKey = `${ownPrefix}select`;

const schema = z.object({
  v: z.literal(1),
  backupId: z.string().refine((text) => parseBackupId(text).ok),
  imageId: z.string(),
  snapId: z.number(),
});

/** What the image says of the restore that made it; null when it says nothing readable. */
export const lineageOf = (entries: readonly MetadataEntry[]): Lineage | null => {
  const entry = entries.find(({ key }) => textOf(key) === lineageKey);
  const text = entry === undefined ? undefined : textOf(entry.value);
  if (text === undefined) return null;
  try {
    const { data } = schema.safeParse(JSON.parse(text));
    return data === undefined ? null : { ...data, backupId: data.backupId as BackupId };
  } catch {
    return null;
  }
};

/** Writes on a restored image which backup it is, so that its chain can go on. */
export const writeLineage = (
  ceph: Pick<CephPort, 'setMetadata'>,
  image: ImageSpec,
  of: { readonly backupId: BackupId; readonly info: ImageInfo; readonly snapshot: Snapshot },
): Promise<void> =>
  ceph.setMetadata(
    image,
    lineageKey,
    JSON.stringify({ v: 1, backupId: of.backupId, imageId: of.info.id, snapId: of.snapshot.id }),
  );

export const isOwnKey = (key: string): boolean => key.startsWith(ownPrefix) && key !== selectKey;

/** What the image says of whether it is selected; null when it says nothing. */
export const selectOf = (entries: readonly MetadataEntry[]): string | null => {
  const entry = entries.find(({ key }) => textOf(key) === selectKey);
  return entry === undefined ? null : (textOf(entry.value) ?? '');
};
