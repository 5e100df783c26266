import { toFerryError } from '@rbdferry/core/errors/ferry-error.js';
import type { CephPort, ImageInfo, Snapshot } from '@rbdferry/core/ceph/port.js';
import type { Backup } from '@rbdferry/core/model/chain.js';
import { joinMetadata, textOf, type MetadataEntry } from '@rbdferry/core/model/image-meta.js';
import type { ImageSpec } from '@rbdferry/core/model/image-spec.js';
import { quoted } from '@rbdferry/core/model/parsed.js';
import type { JobContext } from '../jobs/job-context.js';
import { writeLineage } from '../lineage.js';

/** A restored image, as Ceph sees it. */
export interface Whole {
  readonly info: ImageInfo;
  readonly snapshot: Snapshot;
}

type Deps = Pick<JobContext, 'signal' | 'warn'> & { readonly ceph: Pick<CephPort, 'setMetadata'> };

/** Warnings about single entries; a job keeps its warnings. */
const maxNamed = 50;

/**
 * Gives the image what is not in the diff: the user's image-meta, and where it comes from. Image-meta that cannot be set is left out
 * with a warning that names it: it must not cost the data.
 */
export const dress = async (temporary: ImageSpec, backup: Backup, whole: Whole, job: Deps): Promise<void> => {
  const { source } = backup;
  if (source === null) return;
  let left = 0;
  for (const entry of joinMetadata(source)) {
    const problem = await setOrSay(temporary, entry, job);
    if (problem === null) continue;
    left += 1;
    if (left <= maxNamed) job.warn(`the image-meta ${shown(entry.key)} is not restored: ${problem}`);
  }
  if (left > maxNamed) job.warn(`${left - maxNamed} more entries of the image-meta are not restored`);
  if (source.metadataOmitted) {
    job.warn('the image-meta of the image was too large to be backed up and is not restored');
  }
  await writeLineage(job.ceph, temporary, { backupId: backup.id, ...whole });
};

/** Answers why the entry is not set, or null when it is. @throws what would befall any other command as well */
const setOrSay = async (image: ImageSpec, entry: MetadataEntry, { ceph, signal }: Deps): Promise<string | null> => {
  const [key, value] = [textOf(entry.key), textOf(entry.value)];
  if (key === undefined) return 'its key is no UTF-8, which cannot be set';
  if (value === undefined) return 'its value is no UTF-8, which cannot be set';
  if (key === '') return 'rbd sets no empty key';
  if (value === '') return 'its value is empty, which rbd does not set';
  if (key.includes('\0')) return 'its key holds a NUL, which rbd cannot be told';
  if (value.includes('\0')) return 'its value holds a NUL, which rbd cannot be told';
  try {
    await ceph.setMetadata(image, key, value, { signal });
    return null;
  } catch (thrown) {
    const error = toFerryError(thrown);
    // Refused for what it is, such as a setting that this release does not know. Anything else is about the cluster.
    if (error.code !== 'CEPH_FAILED') throw error;
    return error.message;
  }
};

const shown = (key: Uint8Array): string => {
  const text = textOf(key);
  return text === undefined ? `0x${Buffer.from(key.subarray(0, 60)).toString('hex')}` : quoted(text);
};
