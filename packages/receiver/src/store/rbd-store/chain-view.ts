import type { Snapshot } from '@rbdferry/core/ceph/port.js';
import {
  formatBackupId,
  isSnapName,
  snapTime,
  timestampToMs,
  type BackupId,
  type ChainName,
  type SnapName,
} from '@rbdferry/core/model/backup-id.js';
import type { Backup } from '@rbdferry/core/model/chain.js';
import type { FoundChain } from '../driver.js';
import {
  backupKey,
  decodeFacts,
  decodeHold,
  decodeState,
  holdKey,
  orphanKeys,
  snapOfBackupKey,
  stateKey,
  type HeadState,
} from './backup-meta.js';

/** A chain as its image shows it. */
export interface ChainView extends FoundChain {
  /** Null in a chain of the older tool. */
  readonly state: HeadState | null;
  readonly metadata: ReadonlyMap<string, string>;
  /** Every snapshot of the image, an operator's own included. */
  readonly snapshots: readonly Snapshot[];
  /**
   * A snapshot with facts that a transfer was making when its receiver died: whether it is a backup is decided under the chain's lock
   * (`recoverChain`), and nobody hears of it before. Null when there is none.
   */
  readonly undecided: Backup | null;
}

/** What an image shows, and the backups that this process has committed. */
interface Seen {
  readonly store: string;
  readonly name: ChainName;
  readonly snapshots: readonly Snapshot[];
  readonly metadata: ReadonlyMap<string, string>;
  readonly committed: ReadonlySet<BackupId>;
}

/** What is to be made of it. */
export const viewOf = ({ store, name, snapshots, metadata, committed }: Seen): ChainView => {
  const idOf = (snap: SnapName): BackupId => formatBackupId({ store, chain: name, snap });
  const stateText = metadata.get(stateKey);
  const state = stateText === undefined ? null : decodeState(stateText);
  // A chain that is being deleted is what it was before.
  const before = state?.kind === 'deleting' ? stateBefore(state) : state;
  const found = snapshots
    .toSorted((a, b) => a.id - b.id)
    .flatMap((snapshot): Backup[] => {
      if (!isSnapName(snapshot.name)) return [];
      const holdText = metadata.get(holdKey(snapshot.name));
      const hold = holdText === undefined ? null : decodeHold(holdText);
      if (before === null) return [{ ...legacyBackup(snapshot, snapshot.name, idOf), hold }];
      const facts = metadata.get(backupKey(snapshot.name));
      const backup = facts === undefined ? undefined : decodeFacts(facts, snapshot.name, idOf);
      return backup === undefined ? [] : [{ ...backup, hold }];
    });
  const unfinished = before?.kind === 'receiving' && isSnapName(before.snap) ? before.snap : null;
  const undecided = found.find(({ id, snap }) => snap === unfinished && !committed.has(id)) ?? null;
  const backups = found.filter((backup) => backup !== undecided);
  const chain = {
    store,
    name,
    backups: before === null ? firstIsFull(backups) : backups,
    legacy: before === null,
    partial: before?.kind === 'receiving',
  };
  const seen = { chain, state, metadata, snapshots };
  return {
    ...seen,
    unfinished,
    undecided,
    isUndecided: undecided !== null,
    isUnsettled: isUnsettled(seen),
    isLeftover: snapshots.length === 0,
    isNewer: state?.kind === 'unknown',
    takenNames: new Set(snapshots.map((snapshot) => snapshot.name)),
  };
};

type Image = Pick<ChainView, 'chain' | 'state' | 'metadata' | 'snapshots'>;

/** Whether an earlier step broke off on this chain, or is under way. */
const isUnsettled = (image: Image): boolean =>
  image.state?.kind === 'receiving' ||
  image.state?.kind === 'deleting' ||
  isEmptied(image) ||
  (image.state?.kind === 'clean' && orphansOf(image).length > 0);

/** A chain becomes clean by a commit and so has a backup: one without any snapshot was left by a deletion that broke off. */
export const isEmptied = ({ state, snapshots }: Pick<Image, 'state' | 'snapshots'>): boolean =>
  state?.kind === 'clean' && snapshots.length === 0;

/** Keys of facts, usage and holds that a removal or a broken commit has left; none in a chain of the older tool. */
export const orphansOf = ({ chain, metadata, snapshots }: Image): string[] =>
  chain.legacy ? [] : orphanKeys(metadata.keys(), new Set(snapshots.map(({ name }) => name)));

/** What a chain that is being deleted was. */
const stateBefore = ({ before }: HeadState & { kind: 'deleting' }): HeadState | null =>
  before === null ? null : decodeState(before);

const firstIsFull = (backups: readonly Backup[]): Backup[] =>
  backups.map((backup, index) => (index === 0 ? { ...backup, kind: 'full' } : backup));

/** The older tool wrote names only; the rest is what RBD itself tells. */
const legacyBackup = (snapshot: Snapshot, snap: SnapName, idOf: (snap: SnapName) => BackupId): Backup => {
  const time = snapTime(snap);
  return {
    id: idOf(snap),
    snap,
    kind: 'incremental',
    source: null,
    sizeBytes: snapshot.sizeBytes,
    streamBytes: 0n,
    dataBytes: 0n,
    streamGmac: new Uint8Array(),
    // The older tool, or an operator, may have made names of days that never were.
    committedAtMs: (time === undefined ? 0 : timestampToMs(time)) || 0,
    baseId: null,
    client: null,
    hold: null,
  };
};

/** Names of the images that the facts in a chain's metadata are of. */
export const sourceImages = (metadata: ReadonlyMap<string, string>): ReadonlySet<string> => {
  const images = new Set<string>();
  for (const [key, text] of metadata) {
    const snap = snapOfBackupKey(key);
    const facts =
      snap === undefined ? undefined : decodeFacts(text, snap as SnapName, (name) => name as string as BackupId);
    if (facts !== undefined) images.add(facts.source.identity.image.image);
  }
  return images;
};
