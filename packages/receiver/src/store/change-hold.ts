import { FerryError } from '@rbdferry/core/errors/ferry-error.js';
import { orThrow } from '@rbdferry/core/errors/parsed.js';
import type { BackupId, BackupIdParts } from '@rbdferry/core/model/backup-id.js';
import type { Backup } from '@rbdferry/core/model/chain.js';
import { checkHold, describeHold, isInForce, type HoldTerms } from '@rbdferry/core/model/hold.js';
import type { FoundChain, StoreDriver } from './driver.js';
import { findBackup, noBackup } from './find-backup.js';
import type { HoldChange, HoldOptions } from './port.js';

/**
 * Puts a hold on a backup, or takes it off; the caller has the chain. What broke off there is ended first: a deletion that was begun goes on, and
 * then there is nothing left to hold. @throws BACKUP_NOT_FOUND, INVALID_REQUEST
 */
export const changeHold = async <View extends FoundChain>(
  { driver, now }: { readonly driver: StoreDriver<View>; readonly now: () => number },
  id: BackupIdParts,
  terms: HoldTerms | null,
  { client, maySee, ...options }: HoldOptions,
): Promise<HoldChange> => {
  let view = await driver.look(id.chain, options);
  if (view.isUnsettled) {
    await driver.settle(id.chain, options);
    view = await driver.look(id.chain, options);
  }
  const found = findBackup(view, id);
  if (!maySee(found.client)) throw noBackup(id);
  const nowMs = now();
  const hold =
    terms === null ? null : { ...orThrow(checkHold(terms, nowMs), 'INVALID_REQUEST'), sinceMs: nowMs, client };
  if (hold !== null || found.hold !== null) await driver.setHold(view, found, hold, options);
  return { backup: { ...found, hold }, before: withoutEndedHold(found, nowMs).hold };
};

/** A hold that has ended counts for nothing, and nobody is told of it. */
export const withoutEndedHold = (backup: Backup, nowMs: number): Backup =>
  backup.hold === null || isInForce(backup.hold, nowMs) ? backup : { ...backup, hold: null };

/** Why each backup of a chain that is held cannot go. */
export const heldIn = ({ chain }: FoundChain, nowMs: number): Map<BackupId, FerryError> =>
  new Map(
    chain.backups.flatMap(({ id, hold }) =>
      hold !== null && isInForce(hold, nowMs)
        ? [[id, new FerryError('BACKUP_HELD', `${id} stays: it is ${describeHold(hold)}`)] as const]
        : [],
    ),
  );
