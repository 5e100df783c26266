import { FerryError } from '@rbdferry/core/errors/ferry-error.js';
import { orThrow } from '@rbdferry/core/errors/parsed.js';
import { JobKind, type StartRestoreRequest } from '@rbdferry/core/gen/rbdferry/v1/control.js';
import type { BackupId } from '@rbdferry/core/model/backup-id.js';
import { formatImageSpec, parseImageSpec } from '@rbdferry/core/model/image-spec.js';
import { parseNamedBackup } from '@rbdferry/core/wire/short-id.js';
import type { Place } from '../choose-receiver.js';
import { limitsOf } from '../jobs/request-limits.js';
import type { Wanted } from './choose-backup.js';
import type { RestoreJobRequest } from './restore-jobs.js';

export const restoreKind = JobKind.RESTORE;

/** How a request names a backup. */
type Naming = Pick<StartRestoreRequest, 'backupId' | 'image' | 'atMs' | 'store'>;

/** @throws INVALID_BACKUP_ID, INVALID_IMAGE_SPEC, INVALID_REQUEST */
export const wantedOf = ({ backupId, image, atMs, store }: Naming): Wanted => {
  if (image === '') {
    if (atMs !== undefined) throw invalid('a time goes with an image, not with the id of a backup');
    const named = orThrow(parseNamedBackup(backupId), 'INVALID_BACKUP_ID');
    if (named.kind === 'whole' && store !== '' && store !== named.store) {
      throw invalid(`${backupId} is in store ${JSON.stringify(named.store)}, not in ${JSON.stringify(store)}`);
    }
    return { kind: 'backup', named };
  }
  if (backupId !== '') throw invalid('name a backup or an image, not both');
  return {
    kind: 'image',
    image: orThrow(parseImageSpec(image), 'INVALID_IMAGE_SPEC'),
    atMs: atMs === undefined ? null : momentOf(atMs),
  };
};

/** Milliseconds since 1970. @throws INVALID_REQUEST */
export const momentOf = (atMs: bigint): number => {
  if (atMs < 0n || atMs > latestMs) throw invalid(`${atMs} is no time in milliseconds since 1970`);
  return Number(atMs);
};

/** The end of the year 9999. */
const latestMs = 253_402_300_799_999n;

const invalid = (message: string): FerryError => new FerryError('INVALID_REQUEST', message);

/** Where what is wanted is; a whole id says its store itself. @param choose tells which receiver is meant @throws what `choose` throws */
export const placeOf = (
  wanted: Wanted,
  { receiver, store }: Pick<StartRestoreRequest, 'receiver' | 'store'>,
  choose: (named: Place) => Place,
): Place =>
  choose({ receiver, store: wanted.kind === 'backup' && wanted.named.kind === 'whole' ? wanted.named.store : store });

/** What had to be looked up, as text; null for a whole id. The same words mean the same wish, whatever it came to. */
export const askedFor = (wanted: Wanted): string | null => {
  if (wanted.kind === 'image') {
    const image = formatImageSpec(wanted.image);
    return wanted.atMs === null ? `the newest of ${image}` : `${image} at ${wanted.atMs}`;
  }
  return wanted.named.kind === 'whole' ? null : `short id ${wanted.named.digits}`;
};

/** @param backupId what the wish came to @throws INVALID_IMAGE_SPEC, INVALID_REQUEST */
export const restoreRequestOf = (
  request: StartRestoreRequest,
  { wanted, place, backupId }: { readonly wanted: Wanted; readonly place: Place; readonly backupId: BackupId },
): RestoreJobRequest => {
  const { receiver, store } = place;
  const asked = askedFor(wanted);
  const named = request.to === '' ? null : orThrow(parseImageSpec(request.to), 'INVALID_IMAGE_SPEC');
  const target = named ?? (wanted.kind === 'image' ? wanted.image : null);
  const to = target === null ? null : formatImageSpec(target);
  // The order of the keys belongs to what is kept: a request that came twice is known by its text.
  return {
    kind: 'restore',
    backupId,
    receiver,
    store,
    to,
    replace: request.replace,
    ...(asked === null ? {} : { asked }),
    ...limitsOf(request),
  };
};
