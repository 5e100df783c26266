import { FerryError } from '@rbdferry/core/errors/ferry-error.js';
import { orThrow } from '@rbdferry/core/errors/parsed.js';
import type { BackupId } from '@rbdferry/core/model/backup-id.js';
import { idDigits, parseNamedBackup, type NamedBackup } from '@rbdferry/core/wire/short-id.js';
import type { ReceiverClient } from './receiver-client/receiver-client.js';

/** What a request names, before anybody is asked. @throws INVALID_BACKUP_ID */
export const namedBackups = (texts: readonly string[]): NamedBackup[] =>
  texts.map((text) => orThrow(parseNamedBackup(text), 'INVALID_BACKUP_ID'));

export interface WholeIdsDeps {
  readonly receiver: Pick<ReceiverClient, 'chains'>;
  readonly signal: AbortSignal;
}

/**
 * The whole ids of these backups, in their order. Short ones are looked up in the stores, with one listing of each for all of them
 * together; where there are none nobody is asked. A whole id is taken as it is, whether or not there is such a backup.
 *
 * @throws BACKUP_NOT_FOUND, BACKUP_AMBIGUOUS, what a listing throws
 */
export const wholeIds = async (
  named: readonly NamedBackup[],
  stores: readonly string[],
  deps: WholeIdsDeps,
): Promise<BackupId[]> => {
  const wanted = named.flatMap((each) => (each.kind === 'short' ? [each.digits] : []));
  if (wanted.length === 0) return named.flatMap((each) => (each.kind === 'whole' ? [each.id] : []));
  const looked = await lookUp(new Set(wanted), stores, deps);
  return named.map((each) => (each.kind === 'whole' ? each.id : theOne(each.digits, stores, looked)));
};

interface LookedUp {
  readonly found: ReadonlyMap<string, readonly BackupId[]>;
  /** Chains that are there and could not be read: what is missing may be in one of them. */
  readonly unreadable: number;
}

const lookUp = async (
  wanted: ReadonlySet<string>,
  stores: readonly string[],
  { receiver, signal }: WholeIdsDeps,
): Promise<LookedUp> => {
  const found = new Map([...wanted].map((digits) => [digits, [] as BackupId[]]));
  let unreadable = 0;
  const onUnreadable = () => {
    unreadable += 1;
  };
  for (const store of stores) {
    for await (const { backups } of receiver.chains(store, null, { signal, onUnreadable })) {
      for (const { id } of backups) {
        const digits = idDigits(id);
        for (const [beginning, ids] of found) if (digits.startsWith(beginning)) ids.push(id);
      }
    }
  }
  return { found, unreadable };
};

const mostNamed = 5;

const theOne = (digits: string, stores: readonly string[], { found, unreadable }: LookedUp): BackupId => {
  const [id, ...others] = found.get(digits) ?? [];
  const where = `store ${stores.map((store) => JSON.stringify(store)).join(', ')}`;
  if (id === undefined) {
    const unread = unreadable === 0 ? '' : `; ${unreadable} of its chains could not be read`;
    throw new FerryError(
      'BACKUP_NOT_FOUND',
      `no backup in ${where} has the short id ${JSON.stringify(digits)}${unread}`,
      {
        hint: '`rbdferry list` prints the short ids of a store; --store names another one',
      },
    );
  }
  if (others.length === 0) return id;
  const shown = [id, ...others].slice(0, mostNamed).join(', ');
  const more = others.length < mostNamed ? '' : ` and ${others.length + 1 - mostNamed} more`;
  throw new FerryError(
    'BACKUP_AMBIGUOUS',
    `${others.length + 1} backups in ${where} have the short id ${JSON.stringify(digits)}: ${shown}${more}`,
  );
};
