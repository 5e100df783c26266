import { FerryError, toFerryError } from '@rbdferry/core/errors/ferry-error.js';
import type { SnapName } from '@rbdferry/core/model/backup-id.js';
import type { Backup } from '@rbdferry/core/model/chain.js';
import type { KeptBackup } from '@rbdferry/core/wire/kept-backup.js';
import type { DriverRemoveOptions } from '../driver.js';
import type { Options, Removed } from '../port.js';
import { backupKey, encodeState, holdKey, stateKey, usageKey } from './backup-meta.js';
import type { ChainView } from './chain-view.js';
import { removeImage, type StoreContext } from './context.js';
import { keepersOf, keepersOfSnapshots } from './keepers.js';
import { keptBackup, planRemoval } from './removal-plan.js';

/**
 * Removes one backup. RBD snapshots are independent, so the others stay as they are.
 *
 * If we die here: before the snapshot is removed nothing has changed; after it, its facts are left without a snapshot and count for
 * nothing. A snapshot that is removed by half is not listed any more, and the next removal finishes it.
 */
export const removeBackup = async (
  context: StoreContext,
  view: ChainView,
  backup: Backup,
  { dryRun, signal }: DriverRemoveOptions,
): Promise<Removed> => {
  const why = (await keepersOfSnapshots(context, view, [backup.snap], { signal })).get(backup.snap);
  if (why !== undefined) throw keptBackup(backup, why).reason;
  if (!dryRun) await removeSnapshot(context, view, backup.snap);
  return { backupIds: [backup.id], kept: [], chainRemoved: false, trashedUntil: null };
};

/** Removes a whole chain, also one of which an interrupted deletion left nothing but the image. With the trash it is one step. */
export const removeChain = async (
  context: StoreContext,
  view: ChainView,
  { dryRun, signal, client, held }: DriverRemoveOptions,
): Promise<Removed> => {
  const { ceph, reader, trashExpiryMs, now } = context;
  const { name, backups } = view.chain;
  if (trashExpiryMs !== null) {
    const [isHeld] = held.values();
    if (isHeld !== undefined) throw staysWhole(name, isHeld);
    const trashedUntil = new Date(now() + trashExpiryMs);
    if (!dryRun) await ceph.moveToTrash(reader.image(name), trashedUntil);
    reader.forget(name);
    return { backupIds: backups.map(({ id }) => id), kept: [], chainRemoved: true, trashedUntil };
  }
  const plan = planRemoval(backups, { ...(await keepersOf(context, view, { signal })), held });
  const idsOf = (gone: readonly Backup[]) => gone.map(({ id }) => id);
  if (dryRun) {
    const chainRemoved = plan.kept.length === 0;
    return { backupIds: idsOf(plan.goes), kept: plan.kept, chainRemoved, trashedUntil: null };
  }
  if (plan.kept.length === 0) await writeIntent(context, view, client);
  const { gone, failed } = await removeSnapshots(context, view, plan.goes);
  const kept = [...plan.kept, ...failed];
  if (kept.length > 0) {
    if (plan.kept.length === 0) await takeIntentBack(context, view);
    return { backupIds: idsOf(gone), kept, chainRemoved: false, trashedUntil: null };
  }
  return { backupIds: idsOf(gone), kept: [], chainRemoved: await removeEmptyImage(context, view), trashedUntil: null };
};

/** What the others would lose: the trash is where they could be brought back from, and it takes the image as it is. */
const staysWhole = (chain: string, { message }: FerryError): FerryError =>
  new FerryError('BACKUP_HELD', `the chain ${chain} stays, since its image goes to the trash as a whole: ${message}`);

/**
 * Goes on with a deletion that a death of the receiver broke off; the caller holds the chain. Answers whether it changed anything.
 *
 * If we die here: the state says `deleting` until the image is gone or what cannot go is listed again as it was.
 */
export const finishDeletion = async (context: StoreContext, view: ChainView, options: Options): Promise<boolean> => {
  // Nothing was held when it was begun, and nobody can put a hold on what is going.
  const plan = planRemoval(view.chain.backups, { ...(await keepersOf(context, view, options)), held: new Map() });
  const { failed } = await removeSnapshots(context, view, plan.goes);
  if (plan.kept.length === 0 && failed.length === 0) return removeEmptyImage(context, view);
  await takeIntentBack(context, view);
  return true;
};

/**
 * Written before the first step, so that a deletion does not end in the middle. A full pool takes no change of image-meta, and deletion is
 * what it needs most: there the agent's own record of the deletion is what finishes it.
 */
const writeIntent = async (context: StoreContext, view: ChainView, client: string): Promise<void> => {
  if (view.state?.kind === 'deleting') return;
  const { reader, log, now } = context;
  const { name } = view.chain;
  const before = view.metadata.get(stateKey) ?? null;
  const since = new Date(now()).toISOString();
  try {
    await reader.setMetadata(name, stateKey, encodeState({ kind: 'deleting', v: 1, client, since, before }));
  } catch (thrown) {
    const { code, message } = toFerryError(thrown);
    if (code !== 'CEPH_NO_SPACE') throw thrown;
    log.warn({ chain: name, code, error: message }, 'a deletion begins without a note of it');
  }
};

/** What could not go is a chain as before. */
const takeIntentBack = async (context: StoreContext, { chain: { name } }: ChainView): Promise<void> => {
  const { reader, log, settleLater } = context;
  try {
    const { state } = await reader.fresh(name, {});
    if (state?.kind !== 'deleting') return;
    if (state.before === null) await reader.removeMetadata(name, stateKey);
    else await reader.setMetadata(name, stateKey, state.before);
  } catch (thrown) {
    log.warn({ chain: name, error: toFerryError(thrown).message }, 'could not take the note of a deletion back yet');
    settleLater(name);
  }
};

/** A cluster that does not answer would take its deadline for each of them. */
const hopeless: ReadonlySet<string> = new Set(['CEPH_TIMEOUT', 'CEPH_UNAVAILABLE', 'CEPH_PERMISSION']);

/** Oldest first. What fails stays, with its reason. */
const removeSnapshots = async (
  context: StoreContext,
  view: ChainView,
  backups: readonly Backup[],
): Promise<{ gone: Backup[]; failed: KeptBackup[] }> => {
  const gone: Backup[] = [];
  const failed: KeptBackup[] = [];
  for (const backup of backups) {
    const last = failed.at(-1)?.reason;
    if (last !== undefined && hopeless.has(last.code)) {
      failed.push({ id: backup.id, reason: last });
      continue;
    }
    try {
      await removeSnapshot(context, view, backup.snap);
      gone.push(backup);
    } catch (thrown) {
      failed.push({ id: backup.id, reason: toFerryError(thrown) });
    }
  }
  return { gone, failed };
};

const removeSnapshot = async (context: StoreContext, view: ChainView, snap: SnapName): Promise<void> => {
  await context.reader.removeSnapshot(view.chain.name, snap);
  await dropFacts(context, view, snap);
};

/** Best effort: facts without a snapshot count for nothing, and a full pool takes no change of image-meta. */
const dropFacts = async ({ reader, log }: StoreContext, view: ChainView, snap: SnapName): Promise<void> => {
  const chain = view.chain.name;
  for (const key of [backupKey(snap), usageKey(snap), holdKey(snap)]) {
    if (!view.metadata.has(key)) continue;
    try {
      await reader.removeMetadata(chain, key);
    } catch (thrown) {
      log.warn({ chain, key, error: toFerryError(thrown).message }, 'could not remove the facts of a removed backup');
      return;
    }
  }
};

/** The backups are gone, whatever becomes of their image: what cannot be removed now is removed later. */
const removeEmptyImage = async (context: StoreContext, view: ChainView): Promise<boolean> => {
  const { reader, log, settleLater } = context;
  const chain = view.chain.name;
  try {
    if (view.unfinished !== null) await reader.removeSnapshot(chain, view.unfinished);
    await removeImage(context, chain, {});
    return true;
  } catch (thrown) {
    const { code, message } = toFerryError(thrown);
    log.warn({ chain, code, error: message }, 'the image of a removed chain could not be removed yet');
    settleLater(chain);
    return false;
  }
};
