import type { CephPort } from '@rbdferry/core/ceph/port.js';
import { FerryError, toFerryError } from '@rbdferry/core/errors/ferry-error.js';
import { parseBackupId, type BackupId, type SnapName } from '@rbdferry/core/model/backup-id.js';
import type { Chain } from '@rbdferry/core/model/chain.js';
import { formatImageSpec, type ImageSpec } from '@rbdferry/core/model/image-spec.js';
import { commonBackups, newestCommon, type SourceView } from '@rbdferry/core/model/planner.js';
import type { UnreadableChain } from '@rbdferry/core/wire/unreadable-chain.js';
import { chainsOf, lookAtSource } from '../backup/look-at-source.js';
import { requireOnSource } from '../backup/require-on-source.js';
import { retire } from '../backup/retire.js';
import { ifExists } from '../jobs/loose-ends.js';
import type { Gone, ReceiverClient } from '../receiver-client/receiver-client.js';
import { idsOf, imagesWithoutBackups, placesOf, type Selection } from './selection.js';

export type DeleteEvent =
  | {
      readonly kind: 'deleted';
      readonly id: BackupId;
      /** When the trash lets go of its chain's image; null when it is gone for good. */
      readonly trashedUntil: Date | null;
    }
  | { readonly kind: 'note'; readonly text: string };

export interface DeleteDeps {
  readonly ceph: CephPort;
  readonly receiver: ReceiverClient;
  readonly dryRun: boolean;
  readonly signal: AbortSignal;
  /** By the receiver's clock, in milliseconds since 1970. */
  readonly now: () => number;
}

/** Removes backups at the receiver, then the source snapshots that belonged to them; says what that means for the next backup. */
export async function* deleteBackups(
  selection: Selection,
  deps: DeleteDeps,
): AsyncGenerator<DeleteEvent, void, undefined> {
  const unreadable: UnreadableChain[] = [];
  const before = await chainsTouched(selection, unreadable, deps);
  if (selection.kind === 'policy' && before.length === 0 && unreadable[0] !== undefined) throw unreadable[0].error;
  for (const { store, name, error } of unreadable) {
    yield { kind: 'note', text: `${name === '' ? 'a chain' : name} in store ${store} is left out: ${error.message}` };
  }
  for (const { image, store } of imagesWithoutBackups(selection, before))
    await requireOnSource(image, { ...deps, store });
  const gone = new Set<BackupId>();
  try {
    for await (const { ids, trashedUntil } of remove(selection, before, deps)) {
      for (const id of ids) {
        gone.add(id);
        yield { kind: 'deleted', id, trashedUntil };
      }
      if (trashedUntil !== null) yield { kind: 'note', text: trashNote(ids, trashedUntil, deps) };
    }
  } catch (thrown) {
    // What went before the failure leaves source snapshots too; the first failure is the one that counts.
    try {
      yield* afterwards(before, gone, deps);
    } catch (later) {
      yield { kind: 'note', text: toFerryError(later).message };
    }
    throw thrown;
  }
  yield* afterwards(before, gone, deps);
}

const trashNote = (ids: readonly BackupId[], until: Date, { dryRun }: DeleteDeps): string => {
  const chain = ids[0]?.slice(0, ids[0].indexOf('@')) ?? '';
  const time = `${until.toISOString().slice(0, 19)}Z`;
  return `the image ${chain} ${dryRun ? 'would be' : 'is'} in the trash of the backup cluster until ${time}`;
};

/** Removes at the receiver, one after the other, and tells of each when it is gone. */
async function* remove(
  selection: Selection,
  before: readonly Chain[],
  { receiver, dryRun, now, signal }: DeleteDeps,
): AsyncGenerator<Gone, void, undefined> {
  if (selection.kind === 'chain') {
    yield await receiver.deleteChain(selection.store, selection.chain, dryRun, { signal });
    return;
  }
  for (const id of idsOf(selection, before, now())) {
    yield await receiver.deleteBackup(id, dryRun, { signal });
  }
}

/** The chains that may be touched, as they are before. */
const chainsTouched = async (
  selection: Selection,
  unreadable: UnreadableChain[],
  { receiver, signal }: DeleteDeps,
): Promise<Chain[]> => {
  const chains: Chain[] = [];
  const onUnreadable = (chain: UnreadableChain) => {
    unreadable.push(chain);
  };
  for (const { store, image } of placesOf(selection)) {
    for await (const chain of receiver.chains(store, image, { signal, onUnreadable })) chains.push(chain);
  }
  return chains;
};

/**
 * A source snapshot whose backup is gone serves nobody; when it was the newest common one, the next backup builds on an older
 * one or is a full.
 */
async function* afterwards(
  before: readonly Chain[],
  gone: ReadonlySet<BackupId>,
  deps: DeleteDeps,
): AsyncGenerator<DeleteEvent, void, undefined> {
  const touched = before.filter((chain) => chain.backups.some((backup) => gone.has(backup.id)));
  for (const { store, image } of sourcesOf(touched)) {
    const source = await ifExists(lookAtSource(deps.ceph, image, deps));
    if (source === null) continue;
    const chains = before.filter((chain) => chain.store === store);
    const common = commonBackups(source.view, chains);
    const orphans = common.filter((backup) => gone.has(backup.id));
    if (orphans.length === 0) continue;
    const notes: string[] = [];
    if (!deps.dryRun) await retire(deps.ceph, image, orphans, (warning) => notes.push(warning));
    for (const text of notes) yield { kind: 'note', text };
    const left = newestCommon(source.view, withoutBackups(chains, gone));
    const name = formatImageSpec(image);
    yield {
      kind: 'note',
      text:
        left === null
          ? `the next backup of ${name} to store ${store} will be a full one`
          : `the next increment of ${name} will build on ${left.id}`,
    };
  }
}

/** Images that backups of these chains were made of. A chain may be of several: a restored image goes on with it under its own name. */
const sourcesOf = (chains: readonly Chain[]): { store: string; image: ImageSpec }[] => {
  const sources = new Map<string, { store: string; image: ImageSpec }>();
  for (const { store, backups } of chains) {
    for (const { source } of backups) {
      if (source === null) continue;
      const { image } = source.identity;
      sources.set(`${store} ${formatImageSpec(image)}`, { store, image });
    }
  }
  return [...sources.values()];
};

const withoutBackups = (chains: readonly Chain[], gone: ReadonlySet<BackupId>): Chain[] =>
  chains.map((chain) => ({ ...chain, backups: chain.backups.filter((backup) => !gone.has(backup.id)) }));

/** Removes every snapshot that rbdferry has on a source image for this store. Answers their names. */
export const deleteSourceSnapshots = async (image: ImageSpec, store: string, deps: DeleteDeps): Promise<string[]> => {
  const source = await lookAtSource(deps.ceph, image, deps);
  const common = commonBackups(source.view, await chainsOf(source, store, deps.receiver, deps));
  const snaps = new Set([...common.map(({ snap }) => snap), ...restoredSnaps(source.view, store)]);
  const ours = [...snaps].map((snap) => ({ snap }));
  const failures: string[] = [];
  if (!deps.dryRun) await retire(deps.ceph, image, ours, (failure) => failures.push(failure));
  if (failures.length > 0) throw new FerryError('CEPH_FAILED', failures.join('; '));
  return [...snaps];
};

/** The snapshot that a restore left on the image, by the image's own word: its backup may be gone. */
const restoredSnaps = ({ identity, lineage, snapshots }: SourceView, store: string): SnapName[] => {
  if (lineage === null || lineage.imageId !== identity.imageId) return [];
  const parts = parseBackupId(lineage.backupId);
  if (!parts.ok || parts.value.store !== store) return [];
  const { snap } = parts.value;
  return snapshots.some(({ id, name }) => id === lineage.snapId && name === snap) ? [snap] : [];
};
