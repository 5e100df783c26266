import { FerryError } from '@rbdferry/core/errors/ferry-error.js';
import { imageArgument, wholeIdArgument } from '../options.js';

export const operations = [
  'backup',
  'restore',
  'delete',
  'dump',
  'du',
  'du_snap',
  'query_backup',
  'query_restore',
  'cancel',
  'delete_local_snaps',
] as const;

type OperationName = (typeof operations)[number];

/** What was typed, by the old tool's long names. */
export interface OldOptions {
  readonly op: OperationName;
  readonly pool?: string | undefined;
  readonly image?: string | undefined;
  readonly mode?: string | undefined;
  readonly remote?: string | undefined;
  readonly fromSnap?: string | undefined;
  readonly number_of_copies_to_keep?: string | undefined;
  readonly user?: string | undefined;
  readonly destinationHost?: string | undefined;
  readonly async?: true | undefined;
}

/** What is to be done. `keepFull` is null for all chains. */
export type OldOperation =
  | {
      readonly kind: 'backup';
      readonly image: string;
      readonly store: string;
      readonly mode: 'full' | 'incr';
      readonly keepFull: number | null;
      readonly async: boolean;
    }
  | { readonly kind: 'restore'; readonly backupId: string; readonly image: string; readonly async: boolean }
  | { readonly kind: 'delete'; readonly backupId: string }
  | { readonly kind: 'prune'; readonly image: string; readonly store: string; readonly keepFull: number | null }
  | { readonly kind: 'dump' | 'du'; readonly image: string; readonly store: string }
  | { readonly kind: 'du_snap'; readonly backupId: string }
  | {
      readonly kind: 'query_backup' | 'query_restore' | 'cancel';
      readonly backupId: string;
      readonly image: string | undefined;
    }
  | { readonly kind: 'delete_local_snaps'; readonly image: string; readonly store: string | undefined };

const usage = (message: string): FerryError => new FerryError('USAGE', message, { hint: 'see rbd_backup -h' });

/** Checks the options as the old tool did. @throws USAGE, INVALID_IMAGE_SPEC, INVALID_BACKUP_ID */
export const operationOf = (options: OldOptions): OldOperation => {
  const { op } = options;
  const async = options.async === true;
  if (async && op !== 'backup' && op !== 'restore') throw usage(`-a is for -o backup and -o restore, not for -o ${op}`);
  switch (op) {
    case 'backup':
      return {
        kind: op,
        image: imageOf(options),
        store: storeOf(options),
        mode: modeOf(options),
        keepFull: copiesOf(options),
        async,
      };
    case 'restore':
      return { kind: op, image: imageOf(options), backupId: idOf(options), async };
    case 'delete':
      return deletionOf(options);
    case 'dump':
    case 'du':
      return { kind: op, image: imageOf(options), store: storeOf(options) };
    case 'du_snap':
      return { kind: op, backupId: idOf(options) };
    case 'query_backup':
    case 'query_restore':
    case 'cancel':
      return { kind: op, backupId: idOf(options), image: hasImage(options) ? imageOf(options) : undefined };
    case 'delete_local_snaps':
      return { kind: op, image: imageOf(options), store: options.remote };
  }
};

/** The old tool did nothing, and said that all was well, when neither was given. */
const deletionOf = (options: OldOptions): OldOperation => {
  const { fromSnap, number_of_copies_to_keep: copies } = options;
  if (fromSnap !== undefined && copies !== undefined) throw usage('-o delete takes -s or -n, not both');
  if (fromSnap !== undefined) return { kind: 'delete', backupId: idOf(options) };
  if (copies === undefined) throw usage('-o delete needs -s ID, or -n N to keep the newest N chains');
  return { kind: 'prune', image: imageOf(options), store: storeOf(options), keepFull: copiesOf(options) };
};

const hasImage = ({ pool, image }: OldOptions): boolean => pool !== undefined && image !== undefined;

const imageOf = ({ op, pool = '', image = '' }: OldOptions): string => {
  if (pool === '' || image === '') throw usage(`-o ${op} needs -p POOL and -i IMAGE`);
  return imageArgument(`${pool}/${image}`);
};

const storeOf = ({ op, remote = '' }: OldOptions): string => {
  if (remote === '') throw usage(`-o ${op} needs -r, the backup pool`);
  return remote;
};

const idOf = ({ op, fromSnap = '' }: OldOptions): string => {
  if (fromSnap === '') throw usage(`-o ${op} needs -s, the id of a backup`);
  return wholeIdArgument(fromSnap);
};

const modeOf = ({ mode }: OldOptions): 'full' | 'incr' => {
  if (mode === 'full' || mode === 'incr') return mode;
  throw usage(
    mode === undefined
      ? '-o backup needs -m full or -m incr'
      : `there is no mode ${JSON.stringify(mode)}: full or incr`,
  );
};

const copiesOf = ({ number_of_copies_to_keep: copies = '0' }: OldOptions): number | null => {
  if (!/^\d{1,6}$/.test(copies)) throw usage(`-n takes a whole number, not ${JSON.stringify(copies)}`);
  return Number(copies) === 0 ? null : Number(copies);
};
