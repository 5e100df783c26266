import type { JobError } from '../view/job.js';

/** What to do in the old tool's options, where the hint of the registry speaks of ours. */
const hints: Readonly<Record<string, string>> = {
  NO_CHAIN: 'make a full backup first: -m full',
  NO_COMMON_SNAPSHOT: 'make a full backup: -m full',
  IMAGE_RECREATED: 'the image was removed and made again: make a full backup: -m full',
  IMAGE_EXISTS:
    'an existing image is never overwritten: restore to another name with -p and -i, remove it first, or put it into the trash with `rbdferry restore ID --to POOL/IMAGE --replace`',
  INVALID_BACKUP_ID: 'an id looks like STORE/IMAGE.TIMESTAMP.bkp.image@TIMESTAMP.snap; `-o backup` printed it',
  INVALID_IMAGE_SPEC: 'name the pool with -p and the image with -i',
  STORE_NOT_FOUND: "-r names a store in the receiver's configuration; it has the name of its pool as a rule",
  USAGE: 'see rbd_backup -h',
};

/** An error with its hint in the old tool's words. */
export const reword = (error: JobError): JobError => ({ ...error, hint: hints[error.code] ?? error.hint });
