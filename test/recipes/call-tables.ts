/**
 * What each step of a job asks of Ceph, in the order in which it begins: the cluster, the commands that run side by side, what they are for, and
 * whether the step could do without. ARCHITECTURE.md shows these tables, and `calls.test.ts` holds both to what is really called.
 */
export interface Row {
  readonly on: 'source' | 'target';
  /** Side by side; see `CallRecorder`. */
  readonly calls: readonly string[];
  readonly why: string;
  /** `yes`, or what would have to change. */
  readonly unavoidable: string;
}

const source = (calls: string, why: string, unavoidable = 'yes'): Row => ({
  on: 'source',
  calls: calls.split(' + '),
  why,
  unavoidable,
});
const target = (calls: string, why: string, unavoidable = 'yes'): Row => ({
  on: 'target',
  calls: calls.split(' + '),
  why,
  unavoidable,
});

const lookAtSource = [
  source(
    'fsid + info + snapshots',
    'which image it is, and which snapshots it has; beside the look at the store (`fsid` goes to the cluster once in the life of an agent)',
  ),
  source(
    'metadataEntries',
    'the image-meta of its user, to the byte, and whether a restore made the image; it takes the id from `info`',
    'could be one opening with the row before',
  ),
];
const listChains = target(
  'list',
  'which chains there are',
  'could be remembered, but for what was renamed or removed by hand',
);
const listBackups = target('snapshots', 'which backups the chain of the image holds; image-meta is remembered');
const takeSnapshot = [
  source('createSnapshot', 'what is backed up'),
  source('snapshots', 'its id, by which it is known from now on', 'a command that makes a snapshot could tell its id'),
  source('exportDiff', 'the data; it comes up while the target is made ready'),
];
const transferred = [
  target('importDiff', 'the data, from the first byte of the transfer to the last'),
  source(
    'infoAt + snapshots',
    'what was read was there until its end (`export-diff` exits with 0 when it was not); before the commit is asked for',
  ),
  target('snapshots', '`import-diff` has made the snapshot, of the right size'),
  target('setMetadata rbdferry.backup', 'the facts: the commit, which the sender waits for'),
  target(
    'setMetadata rbdferry.state',
    '`clean`; the sender does not wait for it',
    'could be one opening with the row before, in this order',
  ),
];
const measured = [
  target('diffExtents', 'later, when no transfer is under way: what the backup added, for `du`', 'only for `du`'),
  target('snapshots', 'what was measured was there until its end', 'only for `du`'),
  target('setMetadata rbdferry.usage', 'the figure', 'only for `du`'),
];

const full = [
  ...lookAtSource,
  listChains,
  ...takeSnapshot,
  target('create', 'the new image, under a name with `.new`'),
  target('setMetadata rbdferry.state', '`receiving`, which says that the image is ours'),
  target('rename', 'to its name, now that it says so'),
  ...transferred,
  ...measured,
];

const increment = [
  ...lookAtSource,
  listChains,
  listBackups,
  ...takeSnapshot,
  target('headMayDiffer', 'nobody has written into the head since the base, which is there'),
  target('setMetadata rbdferry.state', '`receiving`, before anything changes'),
  ...transferred,
  source('removeSnapshot', 'the snapshot of the base, which no increment needs any more; beside `clean` on the target'),
  ...measured,
];

const pulled = [
  target('infoAt', 'the id of the image, and that the backup is there'),
  target('exportDiff', 'the data'),
  target('infoAt + snapshots', 'what was read was there until its end; before the trailer is sent'),
];
const intoTemporary = [
  source('create + prepareRemovals', 'the temporary image, which could be removed again on a full pool'),
  source('info', 'its id and its layout'),
  source('importDiff', 'the data, from the first byte of the transfer to the last'),
];
const verified = [
  source('info + snapshots', 'the same image, whole: size and snapshot'),
  source(
    'setMetadata rbdferry.lineage',
    'where it comes from; the image-meta of its user goes before it, a command for each entry',
    'could be one opening with the entries of the user, in this order',
  ),
];
const swapped = [
  source('rename', 'to its name'),
  source('info', 'the name is that of this image: nobody renamed meanwhile'),
];
const askedFor = target('metadata + snapshots', 'the backup as it is now');

const restore = [
  askedFor,
  source('list', 'the name is free, and the pool is there'),
  ...intoTemporary,
  ...pulled,
  ...verified,
  ...swapped,
];

const restoreInPlace = [
  askedFor,
  source('info + watchers', 'what is to be replaced may go to the trash, and nobody uses it'),
  ...intoTemporary,
  ...pulled,
  ...verified,
  source('info', 'which image goes to the trash, and whether it still may: the transfer may have taken hours'),
  source('moveToTrash', 'it refuses an image in use, and so looks for users itself'),
  ...swapped,
];

const deletion = [
  listChains,
  listBackups,
  ...lookAtSource.slice(0, 1),
  target(
    'metadata + snapshots',
    'the chain under its lock, as it is now: what is removed is never decided from memory',
  ),
  target('info', 'whether anything was cloned of it'),
  target('removeSnapshot', 'the backup is gone'),
  target('removeMetadata rbdferry.backup', 'its facts', 'could be one opening with the row after'),
  target('removeMetadata rbdferry.usage', 'what it took up', 'could be one opening with the row before'),
  source('removeSnapshot', 'the snapshot that it was made of, when it is still there'),
];

export const callTables = {
  'A full backup': full,
  'An increment': increment,
  'A restore under a new name': restore,
  'A restore in place of its image': restoreInPlace,
  'A deletion of one backup of several': deletion,
} as const;

/** As Markdown. */
export const renderTable = (rows: readonly Row[]): string =>
  [
    '| on | calls, side by side | for | unavoidable |',
    '|---|---|---|---|',
    ...rows.map(
      ({ on, calls, why, unavoidable }) =>
        `| ${on} | ${calls.map((call) => `\`${call}\``).join(' + ')} | ${why} | ${unavoidable} |`,
    ),
  ].join('\n');
